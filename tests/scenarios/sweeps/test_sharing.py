"""Trials share what they read and what they compute: nothing is fetched, or trained, once per trial."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import pytest

from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.receipts import read_receipt
from seedbed.storage import open_storage
from support.runs.sweep_commands import STEPS, Desk


class Asked:
    """What was asked of the server: ranges of shards, each as (shard, first byte, bytes)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.ranges: list[tuple[str, int, int]] = []

    def note(self, path: str, first: int, count: int) -> None:
        with self._lock:
            if path.endswith(".arrow"):
                self.ranges.append((path, first, count))

    def taken(self) -> list[tuple[str, int, int]]:
        """Return what was asked since the last call."""
        with self._lock:
            ranges, self.ranges = self.ranges, []
        return ranges


def covered(ranges: list[tuple[str, int, int]]) -> set[tuple[str, int]]:
    """Return every byte that was sent at least once."""
    return {(path, at) for path, first, count in ranges for at in range(first, first + count)}


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
        self.asked.note(self.path, int(first), len(part))
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
    """Threads that read at once may both bring a neighbour along; what begins a range was brought by nobody."""
    url, asked = served
    one = desk.sweep("one", maxTrialCount=1, dataset={"uri": url})
    assert one.exit_code == 0, one.stderr
    alone = asked.taken()
    four = desk.sweep("four", maxTrialCount=4, dataset={"uri": url})
    assert four.exit_code == 0, four.stderr
    together = asked.taken()
    assert covered(together) == covered(alone) != set()
    begun = [(path, first) for path, first, _ in together]
    assert sorted(set(begun)) == sorted(begun), "no batch was fetched for a second trial"


def test_with_a_cache_folder_the_next_sweep_fetches_nothing(desk: Desk, served: tuple[str, Asked]) -> None:
    url, asked = served
    cache = ("--cache", desk.folder / "cache")
    first = desk.type("run", "-f", desk.manifest("one", dataset={"uri": url}), *cache)
    assert first.exit_code == 0, first.stderr
    assert asked.taken()
    again = desk.type("run", "-f", desk.manifest("two", dataset={"uri": url}), *cache)
    assert again.exit_code == 0, again.stderr
    assert not asked.taken()


FIXED = [{"type": "Resize", "resize": {"size": 12}}]
RANDOM = [
    {"type": "RandomResizedCrop", "randomResizedCrop": {"size": 12}},
    {"type": "HorizontalFlip", "horizontalFlip": {}},
]
ROWS, MEASURED = 24, 12 + 9
"""Rows to train on; of validation and test."""


@pytest.mark.parametrize(
    ("augmentation", "epochs_kept_apart"), [(FIXED, 1), (RANDOM, 2)], ids=["fixed", "random"]
)
def test_a_picture_is_decoded_once_for_all_trials(
    desk: Desk, augmentation: list[dict[str, object]], epochs_kept_apart: int
) -> None:
    """Also once for all epochs, unless each epoch sees another part of it; without room every trial decodes."""
    training = {"epochs": 2, "augmentation": augmentation}
    decodes = {}
    for store, options in {
        "shared": (),
        "apart": ("--cache", desk.folder / "full", "--cache-bytes", 1),
    }.items():
        IO_COUNTERS.drain()
        done = desk.type("run", "-f", desk.manifest(store, training=dict(training)), *options)
        assert done.exit_code == 0, done.stderr
        decodes[store] = IO_COUNTERS.drain().decodes
    assert decodes["shared"] == epochs_kept_apart * ROWS + MEASURED
    assert decodes["apart"] >= 4 * 2 * ROWS
    assert desk.sweep_record("shared") == desk.sweep_record("apart")


def test_a_run_that_began_with_the_steps_of_another_one_is_whole(desk: Desk) -> None:
    """Its receipt is that of a run which computed all by itself, and every step of it verifies."""
    desk.sweep("shared", maxTrialCount=1, training={"epochs": 2})
    before = desk.steps("shared")
    longer = desk.sweep("shared", maxTrialCount=1).status["bestTrial"]["runID"].removeprefix("sha256:")
    assert desk.steps("shared") - before == 2 * STEPS, "the first half was there"
    desk.sweep("alone", maxTrialCount=1)
    folders = [desk.folder / store / "runs" / longer for store in ("shared", "alone")]
    receipts = [read_receipt(open_storage(str(folder))).deterministic_digest for folder in folders]
    assert receipts[0] == receipts[1]
    verdict = desk.type("verify", folders[0], "-o", "json")
    assert verdict.exit_code == 0, verdict.stderr
    document = json.loads(verdict.stdout)
    assert (document["result"], document["stepsRecomputed"]) == ("reproduced", 4 * STEPS)
    assert desk.type("diff", *folders).exit_code == 0
