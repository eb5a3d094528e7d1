"""`seedbed top` on a terminal: it draws until Ctrl-C, and what fails meanwhile is told and ends nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client import ApiException
from rich.console import Console

from seedbed.cli.top import ReadRows, follow, list_objects
from seedbed.cli.top_rows import Row
from seedbed_api.errors import InfrastructureError, SeedbedError

AWAY = InfrastructureError("ClusterUnreachable", "the API server does not answer")


def a_look(*answers: Row | BaseException) -> ReadRows:
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


class ApiServer:
    """The part of the client that lists, which answers with a status or with pages of objects."""

    def __init__(self, *answers: int | list[str]) -> None:
        self.answers = answers

    def list_cluster_custom_object(self, *, _continue: str, **_where: Any) -> dict[str, Any]:
        place = int(_continue or 0)
        answer = self.answers[place]
        if isinstance(answer, int):
            raise ApiException(status=answer, reason="No")
        following = {"continue": str(place + 1)} if place + 1 < len(self.answers) else {}
        return {"items": [{"metadata": {"name": name}} for name in answer], "metadata": following}


def test_all_pages_are_listed_with_their_kind() -> None:
    found = list(list_objects(ApiServer(["a", "b"], ["c"]), "SweepJob", "sweepjobs", None))
    assert [(raw["kind"], raw["metadata"]["name"]) for raw in found] == [
        ("SweepJob", "a"),
        ("SweepJob", "b"),
        ("SweepJob", "c"),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "exit_code"),
    [
        pytest.param(404, "NotInstalled", 2, id="no such kind"),
        pytest.param(403, "NotAllowed", 2, id="forbidden"),
        pytest.param(429, "ClusterUnavailable", 75, id="too many requests"),
        pytest.param(0, "ClusterUnavailable", 75, id="no TLS"),
        pytest.param(410, "ClusterUnavailable", 75, id="the second page came too late"),
        pytest.param(503, "ClusterUnavailable", 75, id="it starts or ends"),
    ],
)
def test_what_is_the_users_to_mend_and_what_passes_are_told_apart(
    status: int, reason: str, exit_code: int
) -> None:
    with pytest.raises(SeedbedError) as caught:
        list(list_objects(ApiServer(["a"], status), "SweepJob", "sweepjobs", None))
    assert (caught.value.reason, caught.value.exit_code) == (reason, exit_code)
    assert f"sweepjobs cannot be listed ({status} No)" in caught.value.message or status == 404
