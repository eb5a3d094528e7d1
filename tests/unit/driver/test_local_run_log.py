"""The log of a run on one machine: who is heard, what the terminal shows, what it costs the store, its bound."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seedbed.driver import local_run_log
from seedbed.driver.local_run_log import LogLocation, claim_log_location, record_log, record_run_log
from seedbed.logs import log_upload
from seedbed.logs.log_truncation import MOST_LOG_BYTES
from seedbed.logs.log_upload import PIECE_BYTES
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.ray_cluster.local_ray import log_worker_record, workers_logger
from seedbed.storage import LocalStorage
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError, UserError
from seedbed_api.pod_contract.paths import log_piece_name

UID = "ab" * 32
ENDS_SO = "attempt 1 ends"
OURS = logging.getLogger("seedbed.test")


@dataclass(kw_only=True)
class Shelf:
    """An output store that counts what is written below it, and that may refuse."""

    inner: LocalStorage
    written: list[str] = field(default_factory=list)
    refuses: bool = False
    hides: bool = False
    """Lists nothing: another has written since."""

    @property
    def url(self) -> str:
        return self.inner.url

    def list(self, prefix: str = "") -> list[str]:
        return [] if self.hides else self.inner.list(prefix)

    def put(self, path: str, data: bytes) -> None:
        if self.refuses:
            raise UserError("OutputUnwritable", "no space left")
        self.written.append(path)
        self.inner.put(path, data)

    def create(self, path: str, data: bytes) -> bool:
        return self.inner.create(path, data)

    def child(self, path: str) -> Any:
        return Shelf(
            inner=self.inner.child(path), written=self.written, refuses=self.refuses, hides=self.hides
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(inner=LocalStorage(root=tmp_path / "runs"))


@contextmanager
def as_in_a_terminal() -> Iterator[None]:
    """Take away the handlers of pytest: `seedbed run` sets none up."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = before


def place(shelf: Any, *, job: str = "digits", attempt: int = 1) -> LogLocation:
    return LogLocation(output=shelf, uid=UID, job=job, attempt=attempt)


def records(where: LogLocation) -> list[dict[str, Any]]:
    text = b"".join(where.folder.inner.read(path) for path in where.folder.list())
    return [json.loads(line) for line in text.splitlines()]


def messages(where: LogLocation) -> list[str]:
    return [record["message"] for record in records(where)]


def nobody(text: str) -> None:
    raise AssertionError(text)


SPEAKERS: dict[str, tuple[Callable[[], object], dict[str, Any]]] = {
    "code that prints": (lambda: print("hello"), {"level": "info", "message": "hello"}),
    "code that complains": (lambda: print("oh", file=sys.stderr), {"level": "info", "message": "oh"}),
    "a warning of ours": (
        lambda: OURS.warning("the lease was not renewed"),
        {"level": "warning", "logger": "seedbed.test", "message": "the lease was not renewed"},
    ),
    "a warning of a library": (
        lambda: logging.getLogger("library").warning("deprecated"),
        {"level": "info", "message": "deprecated"},
    ),
    "a line without an end": (lambda: sys.stdout.write("half"), {"level": "info", "message": "half"}),
}


@pytest.mark.parametrize(("speak", "expected"), SPEAKERS.values(), ids=SPEAKERS.keys())
def test_who_speaks_in_the_process_is_heard_once_and_seen_as_before(
    shelf: Shelf,
    capsys: pytest.CaptureFixture[str],
    speak: Callable[[], object],
    expected: dict[str, Any],
) -> None:
    with as_in_a_terminal():
        speak()
        before = capsys.readouterr()
        with record_log(place(shelf), nobody):
            speak()
    assert capsys.readouterr() == before
    began, *told, ended = sorted(records(place(shelf)), key=lambda record: record["message"] == ENDS_SO)
    assert began["message"].startswith("attempt 1 begins: process ")
    (record,) = told
    assert expected.items() <= record.items()
    assert {"time", "job", "attempt", "host"} <= record.keys()
    assert ended["job"] == "digits"


def test_what_is_only_for_the_log_is_not_seen(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    workers_logger.info("before")
    with record_log(place(shelf), nobody) as log:
        print("a word of the driver", file=log)
        log_worker_record({"pid": 7, "level": "error", "message": "a word of a worker"})
    workers_logger.info("after")
    assert capsys.readouterr() == ("", "")
    _, driver, worker, _ = records(place(shelf))
    assert (driver["message"], driver["level"]) == ("a word of the driver", "info")
    assert (worker["message"], worker["level"], worker["pid"]) == ("a word of a worker", "error", 7)


@dataclass
class Screen:
    """Notes what it is to show."""

    shown: list[object] = field(default_factory=list)

    def update(self, progress: RunProgress) -> None:
        self.shown.append(progress)

    def notice(self, text: str) -> None:
        self.shown.append(text)


PROGRESS = RunProgress(step=10, total_steps=100, epoch=1, phase="Training", workers=1)


def test_progress_goes_to_screen_and_log_and_records_know_the_newest_step(shelf: Shelf) -> None:
    screen = Screen()
    with record_run_log(place(shelf), screen) as both:
        both.update(PROGRESS)
        both.notice("a worker was lost")
        print("from code")
    assert screen.shown == [PROGRESS, "a worker was lost"]
    _, progress, notice, printed, _ = records(place(shelf))
    assert progress["message"].startswith("training  step 10/100")
    assert (notice["message"], notice["step"]) == ("a worker was lost", 10)
    assert (printed["message"], printed["step"]) == ("from code", 10)


def test_a_run_without_a_place_has_its_own_screen_and_no_log(shelf: Shelf) -> None:
    screen = Screen()
    with record_run_log(None, screen) as shown:
        assert shown is screen
        assert not isinstance(sys.stdout, local_run_log._Tee)


def test_a_log_within_a_log_is_heard_by_both_and_seen_once(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, trial = place(shelf, job="rates"), place(shelf, job="rates-trial-0")
    with as_in_a_terminal(), record_log(sweep, nobody):
        with record_log(trial, nobody):
            print("hello")
            OURS.warning("careful")
        OURS.warning("alone")
    assert capsys.readouterr() == ("hello\n", "careful\nalone\n")
    assert sorted(messages(trial)[1:-1]) == ["careful", "hello"]
    assert sorted(messages(sweep)[1:-1]) == ["alone", "careful", "hello"]


ENDS: dict[str, tuple[BaseException, str]] = {
    "an expected failure": (InfrastructureError("WorkersLost", "gone"), "error: WorkersLost: gone"),
    "a stop request": (StopRequested(), "stop requested"),
    "what nobody expected": (ZeroDivisionError("odd"), "ZeroDivisionError: odd"),
}


@pytest.mark.parametrize(("error", "line"), ENDS.values(), ids=ENDS.keys())
def test_how_it_ended_is_the_end_of_the_log_and_the_failure_goes_its_way(
    shelf: Shelf, error: Exception, line: str
) -> None:
    with pytest.raises(type(error)), record_log(place(shelf), nobody):
        raise error
    assert messages(place(shelf))[-2:] == [line, ENDS_SO]


def fail_after_much_talk() -> None:
    for number in range(700):
        print(f"line {number} {'x' * 30_000}")
    raise ZeroDivisionError("odd")


def test_a_chatty_log_keeps_its_beginning_and_the_traceback_that_ends_it(shelf: Shelf) -> None:
    with pytest.raises(ZeroDivisionError), record_log(place(shelf), nobody):
        fail_after_much_talk()
    folder = place(shelf).folder
    size = sum(map(folder.inner.size, folder.list()))
    assert MOST_LOG_BYTES - (1 << 16) < size <= MOST_LOG_BYTES
    assert folder.list() == [log_piece_name(number) for number in range(len(folder.list()))]
    said = [message[:100] for message in messages(place(shelf))]
    numbers = [int(message.split()[1]) for message in said if message.startswith("line ")]
    assert (numbers[0], numbers[-1]) == (0, 699)
    assert said[-2:] == ["ZeroDivisionError: odd", ENDS_SO]
    announcement, gap = (message for message in said if "this log" in message)
    assert announcement.startswith("this log is longer than 15 MiB")
    assert gap.endswith(" bytes of this log are left out here")


def test_what_is_not_new_is_not_written(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_upload, "UPLOAD_SECONDS", 3600.0)
    with record_log(place(shelf), nobody):
        pass
    assert len(shelf.written) == 1
    uploader = log_upload.LogUploader(read=lambda start, length: b"abc"[start:], folder=lambda: shelf)
    for _ in range(3):
        uploader.upload()
    assert len(shelf.written) == 2


def test_a_store_that_refuses_is_told_of_in_the_end_where_all_else_is_well(shelf: Shelf) -> None:
    shelf.refuses, told = True, []
    with record_log(place(shelf), told.append):
        print("hello")
    assert told == ["the log of this run is not stored: no space left"]
    with pytest.raises(InfrastructureError), record_log(place(shelf), nobody):
        raise InfrastructureError("OutputUnwritable", "no space left")


def test_a_store_that_answers_again_has_all_of_it(shelf: Shelf) -> None:
    spool = local_run_log._LogBuffer({})
    uploader = log_upload.LogUploader(read=spool.read, folder=lambda: shelf.child("log"))
    shelf.refuses = True
    spool.add(b"x" * (PIECE_BYTES + 1))
    uploader.upload()
    assert uploader.error is not None
    shelf.refuses = False
    spool.add(b"y")
    uploader.upload()
    assert uploader.error is None
    folder = shelf.inner.child("log")
    assert b"".join(map(folder.read, folder.list())) == b"x" * (PIECE_BYTES + 1) + b"y"


def test_two_sweeps_at_once_never_share_a_log(shelf: Shelf) -> None:
    first = claim_log_location(shelf, uid=UID, job="rates")
    shelf.hides = True
    second = claim_log_location(shelf, uid=UID, job="rates")
    shelf.hides = False
    third = claim_log_location(shelf, uid=UID, job="other name")
    assert [first.attempt, second.attempt, third.attempt] == [1, 2, 3]
