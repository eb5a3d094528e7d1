"""A driver runs users' code: whatever it answers, the operator gets a valid word or none, and soon."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from aiohttp import web

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.observe.driver_client import MAX_BYTES, HttpDriverClient
from support.operator.builders import UID, live

GOOD = live(7).model_dump_json(by_alias=True, exclude_none=True)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def plain(body: str | bytes, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        content = body.encode() if isinstance(body, str) else body
        return web.Response(body=content, status=status, headers=headers)

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(10_000):
        await response.write(b" " * 4096)
    return response


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


def asked(answer: Answer) -> tuple[LiveProgress | None, float]:
    """Return what a driver_client hears from a driver that answers so, and how long it took."""

    async def ask() -> tuple[LiveProgress | None, float]:
        app = web.Application()
        app.router.add_get("/progress", answer)
        app.router.add_get("/elsewhere", plain(GOOD))
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        driver_client = HttpDriverClient(port=runner.addresses[0][1], seconds=0.5)
        began = time.monotonic()
        heard = await driver_client.get_progress("127.0.0.1", UID)
        took = time.monotonic() - began
        await driver_client.close()
        await runner.cleanup()
        return heard, took

    return asyncio.run(ask())


def test_a_valid_answer_is_heard() -> None:
    heard, _ = asked(plain(GOOD))
    assert heard is not None
    assert heard.progress is not None
    assert heard.progress.step == 7


async def echo(request: web.Request) -> web.StreamResponse:
    return web.Response(text=GOOD.replace(UID, request.headers["Seedbed-Job-Uid"]))


def test_the_question_names_the_job() -> None:
    assert asked(echo)[0] == LiveProgress.model_validate_json(GOOD)


def test_a_driver_of_a_newer_version_is_heard() -> None:
    heard, _ = asked(plain(GOOD[:-1] + ',"unheardOf":{"of":1}}'))
    assert heard == LiveProgress.model_validate_json(GOOD)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(plain("no JSON"), id="no JSON"),
        pytest.param(plain("[" * 60_000), id="deep nesting"),
        pytest.param(plain(GOOD.replace('"step":7', '"step":-7')), id="a step below nothing"),
        pytest.param(plain(GOOD.replace(UID, "another")), id="the driver of another job"),
        pytest.param(plain(GOOD.replace("jobUid", "notTold")), id="a driver that does not say whose it is"),
        pytest.param(plain(GOOD, status=500), id="an error"),
        pytest.param(plain("", status=302, Location="/elsewhere"), id="a redirect"),
        pytest.param(plain(GOOD + " " * MAX_BYTES), id="too long"),
        pytest.param(plain(gzip.compress(b" " * 50_000_000), **{"Content-Encoding": "gzip"}), id="a bomb"),
        pytest.param(endless, id="an endless answer"),
        pytest.param(dripping, id="an answer that drips"),
        pytest.param(silent, id="no answer"),
    ],
)
def test_anything_else_is_no_answer(answer: Answer) -> None:
    heard, took = asked(answer)
    assert heard is None
    assert took < 30, "one that drips would take 50 s"


def test_a_connection_that_is_not_answered_is_given_up_before_an_answer_would_be() -> None:
    """A listener whose queue is full drops what comes: so does a NetworkPolicy."""

    async def ask() -> LiveProgress | None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
            for _ in range(4):
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            driver_client = HttpDriverClient(port=full.getsockname()[1], seconds=3600, connect_seconds=0.2)
            try:
                async with asyncio.timeout(300):
                    return await driver_client.get_progress("127.0.0.1", UID)
            finally:
                await driver_client.close()

    assert asyncio.run(ask()) is None


def test_nobody_there_is_no_answer() -> None:
    async def ask() -> LiveProgress | None:
        driver_client = HttpDriverClient(port=1, seconds=0.5)
        try:
            return await driver_client.get_progress("127.0.0.1", UID)
        finally:
            await driver_client.close()

    assert asyncio.run(ask()) is None
