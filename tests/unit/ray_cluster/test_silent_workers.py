"""The line between driver and training: a stop gets through, whatever happens to telemetry."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from seedbed.ray_cluster.progress_board import InProcessLink, ProgressBoard
from seedbed.ray_cluster.ray_trainer import _polling
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError

PROGRESS = RunProgress(step=1, total_steps=2, epoch=1)


def test_a_stop_is_delivered_although_progress_cannot_be_recorded(caplog: pytest.LogCaptureFixture) -> None:
    board, stopping = ProgressBoard(), threading.Event()
    board.post(PROGRESS)

    def watch(_: RunProgress) -> None:
        raise InfrastructureError("StorageUnavailable", "the store is away")

    with _polling(board.look, board.stop, on_progress=watch, stopping=stopping):
        time.sleep(0.6)
        stopping.set()
        deadline = time.monotonic() + 60
        while not board.stopping():
            assert time.monotonic() < deadline, "the stop was not delivered"
            time.sleep(0.01)
    assert "the store is away" in caplog.text


def test_a_training_in_this_process_hears_a_stop_at_once() -> None:
    board = ProgressBoard()
    link = InProcessLink(board)
    assert not link.stop_requested()
    board.stop()
    assert link.stop_requested()


def test_the_first_lasting_failure_counts_and_the_newest_excuse() -> None:
    board = ProgressBoard()
    errors = [InfrastructureError(name, name) for name in ("First", "Second")]
    for error in errors:
        board.fail(error)
        board.excuse(error)
    assert board.look()[1] is errors[0]
    assert board.excused() is errors[1]


def test_a_group_keeps_its_state_and_rests_until_another_begins() -> None:
    board = ProgressBoard()
    assert not board.stopping()
    board.hold()
    assert board.stopping(), "the group keeps its state as for a stop"
    assert board.holding()
    assert not board.resting()
    board.rest()
    assert board.resting()
    board.begin()
    assert not board.stopping()
    assert not board.holding()
    assert not board.resting()


def test_who_rests_is_released_by_a_stop() -> None:
    board = ProgressBoard()
    board.hold()
    board.stop()
    assert board.stopping()
    assert not board.holding()


def test_a_run_stands_where_the_lost_group_was_until_another_has_done_a_step() -> None:
    board = ProgressBoard()
    board.post(replace(PROGRESS, phase="Training"))
    board.wait()
    assert board.waiting()
    assert board.look()[0] == replace(PROGRESS, phase="Starting")
    board.begin()
    assert not board.waiting()
    board.post(replace(PROGRESS, step=2, phase="Training"))
    assert board.look()[0] == replace(PROGRESS, step=2, phase="Training")
