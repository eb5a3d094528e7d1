"""Trials share what they read: a dataset that lies elsewhere is fetched once, not once per trial."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import pytest

from scenarios.sweeps.desk import Desk


class Asked:
    """What was asked of the server: bytes by shard."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.shards: dict[str, int] = {}

    def note(self, path: str, count: int) -> None:
        with self._lock:
            if path.endswith(".arrow"):
                self.shards[path] = self.shards.get(path, 0) + count

    def total(self) -> int:
        return sum(self.shards.values())


class Ranges(SimpleHTTPRequestHandler):
    """Python's server, which leaves out ranges, with them."""

    def __init__(self, *arguments: object, asked: Asked, directory: str) -> None:
        self.asked = asked
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        data = path.read_bytes()
        part = data[int(first) : int(last) + 1 if last else None]
        self.asked.note(self.path, len(part))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def served(desk: Desk) -> Iterator[tuple[str, Asked]]:
    asked = Asked()
    handler = partial(Ranges, asked=asked, directory=str(desk.data))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_a_remote_dataset_is_fetched_once_for_all_trials(desk: Desk, served: tuple[str, Asked]) -> None:
    url, asked = served
    one = desk.sweep("one", maxTrialCount=1, dataset={"uri": url})
    assert one.exit_code == 0, one.stderr
    alone = asked.total()
    assert alone > 0
    four = desk.sweep("four", maxTrialCount=4, dataset={"uri": url})
    assert four.exit_code == 0, four.stderr
    assert asked.total() - alone == alone


def test_with_a_cache_folder_the_next_sweep_fetches_nothing(desk: Desk, served: tuple[str, Asked]) -> None:
    url, asked = served
    cache = ("--cache", desk.folder / "cache")
    first = desk.type("run", "-f", desk.manifest("one", dataset={"uri": url}), *cache)
    assert first.exit_code == 0, first.stderr
    before = asked.total()
    again = desk.type("run", "-f", desk.manifest("two", dataset={"uri": url}), *cache)
    assert again.exit_code == 0, again.stderr
    assert asked.total() == before > 0
