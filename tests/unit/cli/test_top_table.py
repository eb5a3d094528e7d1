"""What `seedbed top` prints at each width: names, states, progress and reasons are there whole, whatever they are."""

from __future__ import annotations

import pytest

from seedbed.cli.top_rows import Row
from seedbed.cli.top_table import blocks_of, screen_of

LONG = (
    "0/5 nodes are available: 3 node(s) didn't match Pod's node affinity/selector, 2 Insufficient nvidia.com/gpu; "
    "ask for fewer workers, or wait until others have ended"
)
SIXTY = "team-vision-research/" + "seedlings-" * 4
TRAINS = Row(
    kind="TrainingJob",
    name="team-a/digits",
    status="Training",
    progress="30/60 (50 %)",
    rate="1,234 images/s",
    left="1:30",
    workers="1/2",
    result="0.9812",
)
WAITS = Row(kind="TrainingJob", name="team-b/seedlings", status="Unschedulable", workers="0/4", message=LONG)
HANGS = Row(
    kind="SweepJob",
    name=SIXTY,
    status="PreRunningDeadlineExceeded",
    progress="123456/2000000 (6 %)",
    left="12:03:11",
    message="no step came",
)
ROWS = [TRAINS, WAITS, HANGS]


def printed(rows: list[Row], width: int | None) -> list[str]:
    return [line.plain for block in blocks_of(rows, width=width) for line in block]


@pytest.mark.parametrize("width", [80, 100, 120, 200, None])
def test_at_no_width_a_name_state_progress_time_or_reason_is_cut(width: int | None) -> None:
    lines = printed(ROWS, width)
    words = " ".join(" ".join(lines).split())
    for row in ROWS:
        for shown in (row.name, row.status, row.progress, row.left, row.message):
            assert shown in words
    assert width is None or max(map(len, lines)) <= width
    assert len(lines) <= 1 + 3 * len(ROWS) + 1, "a message is not spelled letter by letter"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (55, ["NAME", "STATUS", "PROGRESS", "LEFT"]),
        (65, ["NAME", "STATUS", "PROGRESS", "LEFT", "WORKERS"]),
        (80, ["NAME", "STATUS", "PROGRESS", "LEFT", "WORKERS", "RATE"]),
        (90, ["NAME", "STATUS", "PROGRESS", "LEFT", "WORKERS", "RATE", "RESULT"]),
        (100, ["NAME", "STATUS", "PROGRESS", "LEFT", "WORKERS", "RATE", "RESULT", "KIND"]),
    ],
)
def test_on_a_narrow_screen_the_columns_that_matter_less_give_way(width: int, shown: list[str]) -> None:
    assert printed([TRAINS, WAITS], width)[0].split() == shown


def test_a_message_stands_beside_its_row_where_it_has_room_and_else_below() -> None:
    short = Row(kind="run", name="ab", status="open", message="stopped")
    assert printed([short], 80) == ["NAME  STATUS  KIND  MESSAGE", "ab    open    run   stopped"]
    assert printed([short], 20) == ["NAME  STATUS  KIND", "ab    open    run", "    stopped"]


def test_without_a_terminal_each_job_is_one_line_that_holds_everything() -> None:
    header, *lines = printed(ROWS, None)
    assert header.split()[-1] == "MESSAGE"
    assert [line.split()[0] for line in lines] == [row.name for row in ROWS]
    assert lines[1].endswith(LONG)


def test_columns_that_nobody_fills_are_left_out() -> None:
    assert printed([Row(kind="run", name="ab", status="open")], None)[0].split() == ["NAME", "STATUS", "KIND"]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param("no [/data/x] there", "no [/data/x] there", id="a closing tag"),
        pytest.param("[constraint-name] denied it", "[constraint-name] denied it", id="an opening tag"),
        pytest.param("[red]alert", "[red]alert", id="a colour"),
        pytest.param("\x1b[2Jall\nis \x07well", "[2Jall is well", id="what a terminal obeys"),
    ],
)
def test_words_of_others_are_shown_and_not_obeyed(message: str, shown: str) -> None:
    row = Row(kind="TrainingJob", name="team/digits", status="Refused", message=message)
    assert printed([row], 120)[1].endswith(shown)


def test_a_screen_holds_as_many_jobs_as_it_has_lines_and_tells_of_the_others() -> None:
    rows = [Row(kind="run", name=f"run-{number}", status="open", message=LONG * 3) for number in range(30)]
    lines = [line.plain for line in screen_of(["here"], rows, width=60, height=20)]
    assert len(lines) <= 20
    assert lines[0] == "here"
    assert lines[2].startswith("run-0")
    assert lines[5].endswith(" …"), "a message has three lines here, so that more jobs have room"
    assert lines[-1] == "… 26 more; `seedbed top --once` prints all"
    assert [line.plain for line in screen_of(["nothing"], [], width=60, height=20)] == ["nothing"]
