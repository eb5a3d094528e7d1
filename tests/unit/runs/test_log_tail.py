"""Following logs: each line once and in order, whatever else lies in the store, and through failures of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from seedbed.runs.log_store import list_logs, read_in_order, select_logs
from seedbed.runs.log_tail import LogTail
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import InfrastructureError
from support.storage.counting_storage import CountingStorage

DRIVER = "logs/u1/{0}/digits-{0}-driver/{1:06d}.log"
WORKER = "logs/u1/{0}/digits-{0}-worker-0/{1:06d}.log"


def record(second: int, message: str) -> bytes:
    return json.dumps({"time": f"2030-01-02T12:00:{second:02}+00:00", "message": message}).encode() + b"\n"


@dataclass(kw_only=True)
class FailingStorage(CountingStorage):
    """A store that does not answer requests with these words."""

    failing: str = ""

    def _note(self, verb: str, path: str) -> None:
        super()._note(verb, path)
        if self.failing and self.failing in f"{verb} {path}":
            raise InfrastructureError("StorageUnavailable", f"{path}: no answer")


@pytest.fixture
def store(tmp_path: Path) -> FailingStorage:
    """A job in its second attempt, and what lies beside it."""
    output = FailingStorage(inside=open_storage(str(tmp_path)))
    output.put(DRIVER.format(1, 0), record(1, "a"))
    output.put(WORKER.format(1, 0), record(2, "b"))
    output.put(DRIVER.format(2, 0), record(5, "c"))
    for number in range(20):
        output.put(f"logs/v{number}/1/flowers-1-driver/000000.log", record(9, "flowers"))
        output.put(f"runs/{number:064}/recipe.json", b"{}")
    return output


def following(store: Storage, named: str = "digits") -> LogTail:
    """Return what goes on after the first look, as the command does."""
    logs = select_logs(store, list_logs(store), named, attempt=None).logs
    assert list(read_in_order(store, logs, last=False))
    return LogTail(output=store, logs=logs)


def heard(follower: LogTail) -> list[str]:
    lines = [line for _, line in follower.read_new()]
    return [json.loads(line)["message"] if line.startswith("{") else line for line in lines]


@pytest.mark.parametrize("named", ["digits", "u1"])
def test_a_look_lists_the_folder_of_the_job_and_reads_what_may_grow(
    store: FailingStorage, named: str
) -> None:
    follower = following(store, named)
    assert heard(follower) == [], "the logs of the first attempt are looked at for the last time"
    store.requests.clear()
    assert heard(follower) == []
    assert store.requests == ["list logs/u1", f"read {DRIVER.format(2, 0)}"]


def test_what_comes_is_told_once_and_in_order(store: FailingStorage) -> None:
    follower = following(store)
    store.put(DRIVER.format(2, 0), record(5, "c") + record(7, "e"))
    store.put(WORKER.format(2, 0), record(6, "d") + b"half ")
    assert heard(follower) == ["d", "e"]
    store.put(WORKER.format(2, 0), record(6, "d") + b"half a line\n")
    store.put(DRIVER.format(3, 0), record(9, "f"))
    assert heard(follower) == ["half a line", "f"]
    assert heard(follower) == []


def test_the_last_word_of_an_attempt_is_told_though_its_line_has_no_end_and_a_later_piece_too(
    store: FailingStorage,
) -> None:
    store.put(WORKER.format(1, 0), record(2, "b") + b"killed in the mid")
    follower = following(store)
    assert heard(follower) == ["killed in the mid"]
    store.put(WORKER.format(1, 1), b"a late piece\n")
    assert heard(follower) == ["a late piece"]


@pytest.mark.parametrize(
    "failing", ["list", "read logs/u1/1", "read logs/u1/2/digits-2-driver/000001", "read"]
)
def test_a_failure_of_the_store_is_kept_and_loses_no_line(store: FailingStorage, failing: str) -> None:
    follower = following(store)
    store.put(DRIVER.format(1, 0), record(1, "a") + record(3, "late"))
    store.put(DRIVER.format(2, 0), record(5, "c") + record(6, "d"))
    store.put(DRIVER.format(2, 1), record(7, "e"))
    store.failing = failing
    first = heard(follower)
    assert follower.error is not None
    store.failing = ""
    assert sorted(first + heard(follower)) == ["d", "e", "late"]
    assert follower.error is None


def test_logs_that_are_removed_meanwhile_end(store: FailingStorage) -> None:
    follower = following(store)
    store.delete(DRIVER.format(2, 0))
    assert heard(follower) == []


def test_one_attempt_or_pod_is_followed_alone(store: FailingStorage) -> None:
    follower = following(store)
    follower.attempt, follower.pod = 2, "digits-2-worker-0"
    store.put(WORKER.format(2, 0), record(6, "d"))
    store.put(WORKER.format(3, 0), record(8, "x"))
    assert heard(follower) == ["d"]
