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
    board.set_progress(PROGRESS)

    def watch(_: RunProgress) -> None:
        raise InfrastructureError("StorageUnavailable", "the store is away")

    with _polling(board.read, board.request_stop, on_progress=watch, stopping=stopping):
        time.sleep(0.6)
        stopping.set()
        deadline = time.monotonic() + 60
        while not board.should_stop():
            assert time.monotonic() < deadline, "the stop was not delivered"
            time.sleep(0.01)
    assert "the store is away" in caplog.text


def test_a_training_in_this_process_hears_a_stop_at_once() -> None:
    board = ProgressBoard()
    link = InProcessLink(board)
    assert not link.stop_requested()
    board.request_stop()
    assert link.stop_requested()


def test_the_first_fatal_error_counts_and_the_newest_retryable_one() -> None:
    board = ProgressBoard()
    errors = [InfrastructureError(name, name) for name in ("First", "Second")]
    for error in errors:
        board.report_fatal(error)
        board.report_retryable(error)
    assert board.read()[1] is errors[0]
    assert board.retryable_error() is errors[1]


def test_a_group_pauses_until_another_starts() -> None:
    board = ProgressBoard()
    assert not board.should_stop()
    board.request_pause()
    assert board.should_stop(), "the group keeps its state as for a stop"
    assert board.pause_requested()
    assert not board.is_paused()
    board.mark_paused()
    assert board.is_paused()
    board.start_group()
    assert not board.should_stop()
    assert not board.pause_requested()
    assert not board.is_paused()


def test_a_stop_releases_a_paused_worker() -> None:
    board = ProgressBoard()
    board.request_pause()
    board.request_stop()
    assert board.should_stop()
    assert not board.pause_requested()


def test_a_run_stands_where_the_lost_group_was_until_another_has_done_a_step() -> None:
    board = ProgressBoard()
    board.set_progress(replace(PROGRESS, phase="Training"))
    board.mark_waiting_for_nodes()
    assert board.waits_for_nodes()
    assert board.read()[0] == replace(PROGRESS, phase="Starting")
    board.start_group()
    assert not board.waits_for_nodes()
    board.set_progress(replace(PROGRESS, step=2, phase="Training"))
    assert board.read()[0] == replace(PROGRESS, step=2, phase="Training")
