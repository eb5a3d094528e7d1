"""A plain client beside the API server that posts objects, applies jobs, and counts pods.

Requests are raw bytes over aiohttp and answers are hardly parsed: the minimum cost of a client in Python.
Each command reads one JSON document from stdin and writes one to stdout. Times are seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

OWNER = b"UID-OF-THE-DRIVER"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
LOOK_SECONDS = 0.1


class Client:
    """One user's connections."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self.session = session
        self.server = server

    async def post(self, path: str, body: bytes) -> bytes:
        """Create an object; end the program where that is refused."""
        async with self.session.post(self.server + path, data=body) as answer:
            content = await answer.read()
            if answer.status != 201:
                raise SystemExit(f"POST {path}: {answer.status} {content[:500]!r}")
            return content

    async def list(self, path: str) -> Any:
        """Return the metadata of a list; end the program where it is refused."""
        async with self.session.get(self.server + path, headers={"Accept": PARTIAL_LIST}) as answer:
            content = await answer.read()
            if answer.status != 200:
                raise SystemExit(f"GET {path}: {answer.status} {content[:500]!r}")
            return json.loads(content)


@contextlib.asynccontextmanager
async def connected(asked: dict[str, Any]) -> AsyncIterator[Client]:
    """Yield a client of the user that is asked for."""
    trust = ssl.create_default_context(cafile=asked["authority"])
    headers = {"Authorization": f"Bearer {asked['token']}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=trust),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120),
        read_bufsize=1 << 20,
    ) as session:
        yield Client(session, asked["server"])


async def side_by_side(count: int, work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all of the work, so many at a time."""
    left: Iterator[Callable[[], Awaitable[None]]] = iter(work)

    async def one() -> None:
        for each in left:
            await each()

    await asyncio.gather(*(one() for _ in range(count)))


async def post(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    """Post the children of jobs, secret and driver first; jobs go side by side, as the operator's do."""
    jobs = [json.loads(line) for line in Path(asked["bodies"]).read_text().splitlines()]
    bodies = [[(path, json.dumps(body).encode()) for path, body in job] for job in jobs]

    def creating(job: list[tuple[str, bytes]]) -> Callable[[], Awaitable[None]]:
        async def create() -> None:
            uid = OWNER
            for path, body in job:
                made = await client.post(path, body.replace(OWNER, uid))
                if uid is OWNER and path.endswith("/pods"):
                    uid = json.loads(made)["metadata"]["uid"].encode()

        return create

    began, cpu = time.time(), time.process_time()
    await side_by_side(asked["concurrency"], map(creating, bodies))
    return {"began": began, "ended": time.time(), "cpu": time.process_time() - cpu}


async def apply(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    """Create jobs, at a rate or as fast as a few connections can; tell when each was sent and answered."""
    path = f"/apis/seedbed.dev/v1alpha1/namespaces/{asked['namespace']}/trainingjobs"
    sent: dict[str, float] = {}
    answered: dict[str, float] = {}

    def creating(number: int) -> Callable[[], Awaitable[None]]:
        async def create() -> None:
            name = f"{asked['prefix']}{number:05d}"
            body = json.dumps({**asked["job"], "metadata": {"name": name, "namespace": asked["namespace"]}})
            sent[name] = time.time()
            await client.post(path, body.encode())
            answered[name] = time.time()

        return create

    numbers = range(asked["first"], asked["first"] + asked["count"])
    if asked["rate"]:
        await _at_a_rate(asked["rate"], map(creating, numbers))
    else:
        await side_by_side(16, map(creating, numbers))
    return {"sent": sent, "answered": answered}


async def _at_a_rate(rate: float, work: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Begin the work at even distances, whether or not what began before has ended."""
    loop = asyncio.get_running_loop()
    begun, tasks = loop.time(), []
    for number, each in enumerate(work):
        await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
        tasks.append(asyncio.ensure_future(each()))
    await asyncio.gather(*tasks)


async def watch(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    """Apply jobs while watching their pods; tell also when the last pod of each was seen."""
    pods = f"/api/v1/namespaces/{asked['namespace']}/pods"
    version = (await client.list(f"{pods}?limit=1"))["metadata"]["resourceVersion"]
    seen: dict[str, list[float]] = {}
    following = asyncio.ensure_future(_follow(client, f"{pods}?watch=1", version, seen))
    applied = await apply(client, asked)
    end = time.time() + asked["patience"]
    while time.time() < end and not _all_there(seen, applied["sent"], asked["pods"]):
        await asyncio.sleep(LOOK_SECONDS)
        if following.done():
            following.result()
    following.cancel()
    created = {name: max(times) for name, times in seen.items() if len(times) >= asked["pods"]}
    return {**applied, "created": created}


def _all_there(seen: dict[str, list[float]], sent: dict[str, float], pods: int) -> bool:
    return all(len(seen.get(name, ())) >= pods for name in sent)


async def _follow(client: Client, path: str, version: str, seen: dict[str, list[float]]) -> None:
    """Note when each pod was first seen, by the label of its job; a watch that ends is resumed."""
    while True:
        url = f"{client.server}{path}&resourceVersion={version}"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with client.session.get(url, headers={"Accept": PARTIAL}) as answer:
                if answer.status != 200:
                    raise SystemExit(f"GET {path}: {answer.status}")
                async for line in answer.content:
                    version = _note(line, seen) or version


def _note(line: bytes, seen: dict[str, list[float]]) -> str | None:
    """Note a new pod and return its version; None for another event."""
    now = time.time()
    if line.startswith(b'{"type":"ERROR"'):
        raise SystemExit(f"the watch of the pods: {line[:500]!r}")
    if not line.startswith(b'{"type":"ADDED"'):
        return None
    metadata = json.loads(line)["object"]["metadata"]
    seen.setdefault(metadata["labels"]["seedbed.dev/job"], []).append(now)
    return str(metadata["resourceVersion"])


async def count(client: Client, asked: dict[str, Any]) -> dict[str, Any]:
    """Count the pods of a namespace ten times a second until there are so many; tell when that was."""
    pods = f"/api/v1/namespaces/{asked['namespace']}/pods?limit=1"
    series: list[tuple[float, int]] = []
    end = time.time() + asked["patience"]
    while time.time() < end:
        page = await client.list(pods)
        found = len(page["items"] or ()) + page["metadata"].get("remainingItemCount", 0)
        series.append((time.time(), found))
        if found >= asked["until"]:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return {"series": series}


async def main() -> None:
    """Do what the first argument names."""
    commands = {"post": post, "apply": apply, "watch": watch, "count": count}
    asked = json.loads(sys.stdin.read())
    async with connected(asked) as client:
        json.dump(await commands[sys.argv[1]](client, asked), sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
