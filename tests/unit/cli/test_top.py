"""`seedbed top` on a terminal: it draws until Ctrl-C, and what fails meanwhile is told and ends nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from seedbed.cli.top import Look, follow
from seedbed.cli.toplist import Row
from seedbed_api.errors import InfrastructureError

AWAY = InfrastructureError("ClusterUnreachable", "the API server does not answer")


def a_look(*answers: Row | BaseException) -> Look:
    """Return a look that gives such answers one after the other."""
    coming: Iterator[Row | BaseException] = iter(answers)

    def look() -> list[Row]:
        answer = next(coming)
        if isinstance(answer, BaseException):
            raise answer
        return [answer]

    return look


def a_row(step: int) -> Row:
    return Row(kind="TrainingJob", name="team/digits", status="Training", progress=f"{step}/60")


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, height=10)


def drawn(terminal: Console) -> list[str]:
    """Return the screens that were drawn."""
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue().split("here at ")[1:]


def test_a_failure_is_told_above_what_was_seen_before_and_the_next_answer_clears_it(
    terminal: Console,
) -> None:
    follow("here", a_look(a_row(1), AWAY, a_row(2), KeyboardInterrupt()), every=0, console=terminal)
    first, away, again = drawn(terminal)
    assert "1/60" in first
    assert "1/60" in away
    assert "since then ClusterUnreachable: the API server does not answer" in away
    assert "2/60" in again
    assert "ClusterUnreachable" not in first + again


def test_ctrl_c_during_a_look_ends_it_quietly(terminal: Console) -> None:
    follow("here", a_look(KeyboardInterrupt()), every=0, console=terminal)
    assert drawn(terminal) == []


def test_who_cannot_look_at_all_is_told_so(terminal: Console) -> None:
    with pytest.raises(InfrastructureError, match="does not answer"):
        follow("here", a_look(AWAY), every=0, console=terminal)
    assert drawn(terminal) == []
