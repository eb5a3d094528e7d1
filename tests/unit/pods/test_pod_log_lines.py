"""Whoever speaks in a pod, its log is lines of JSON with job, attempt and step; people read them as lines."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.logs.json_log import LONGEST_LINE, JsonLineEncoder
from seedbed.pods.init_process import log_as_json_lines, log_encoder
from seedbed_api.json_log_lines import format_log_line

ENVIRON = {
    "SEEDBED_JOB": '{"metadata": {"name": "digits", "namespace": "team", "uid": "u"}, "spec": {}}',
    "SEEDBED_ATTEMPT": "2",
    "POD_NAME": "digits-2-driver",
}
OURS = {"namespace": "team", "job": "digits", "attempt": 2, "pod": "digits-2-driver"}


def recorder(**context: Any) -> JsonLineEncoder:
    return JsonLineEncoder(context=context, clock=lambda: "2030-01-02T12:00:00.000+00:00")


def records(taker: JsonLineEncoder, *chunks: bytes) -> list[dict[str, Any]]:
    told = b"".join([*map(taker.take, chunks), taker.last()])
    return [json.loads(line) for line in told.splitlines()]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(b"plain\n", {"level": "info", "message": "plain"}, id="what a library prints"),
        pytest.param(b"error: X: y\n", {"level": "error", "message": "error: X: y"}, id="how a program ends"),
        pytest.param(
            b'{"level": "warning", "message": "m", "step": 7}\n',
            {"level": "warning", "message": "m", "step": 7},
            id="what is a record already",
        ),
        pytest.param(b'{"a": 1}\n', {"level": "info", "message": '{"a": 1}'}, id="JSON that is no record"),
        pytest.param(b"{half\n", {"level": "info", "message": "{half"}, id="what only begins like one"),
        pytest.param(b"\xff\n", {"level": "info", "message": "\N{REPLACEMENT CHARACTER}"}, id="bytes"),
        pytest.param(b"no end", {"level": "info", "message": "no end"}, id="a last line without end"),
    ],
)
def test_a_line_becomes_a_record(said: bytes, expected: dict[str, Any]) -> None:
    (record,) = records(recorder(job="digits"), said)
    assert record == {"time": "2030-01-02T12:00:00.000+00:00", "job": "digits", **expected}


def test_a_line_without_a_step_gets_the_newest_one() -> None:
    told = records(
        recorder(), b'{"message": "a", "step": 7}\nplain\n{"message": "b", "step": 9}\n', b"more\n"
    )
    assert [record["step"] for record in told] == [7, 7, 9, 9]


def test_a_record_may_name_its_own_job() -> None:
    (record,) = records(recorder(job="digits"), b'{"message": "m", "job": "another"}\n')
    assert record["job"] == "another"


def test_the_environment_says_whose_log_it_is() -> None:
    assert log_encoder(ENVIRON).context == OURS
    assert log_encoder({"SEEDBED_JOB": "no JSON", "SEEDBED_ATTEMPT": "x"}).context == {}


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_how_a_pipe_cuts_what_is_said_does_not_show(chunks: list[bytes]) -> None:
    assert records(recorder(), *chunks) == records(recorder(), b"".join(chunks))


def test_an_endless_line_is_told_in_parts() -> None:
    told = records(recorder(), b"x" * (2 * LONGEST_LINE + 5) + b"\n")
    assert "".join(record["message"] for record in told) == "x" * (2 * LONGEST_LINE + 5)


def test_logs_of_python_are_records(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), logging.getLogger("seedbed").level
    try:
        log_as_json_lines()
        root.handlers[0].stream = sys.stderr  # type: ignore[attr-defined]
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("seedbed.x").exception("it broke\nin two lines")
    finally:
        root.handlers[:] = before
        logging.getLogger("seedbed").setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == (
        "error",
        "seedbed.x",
        "it broke\nin two lines",
    )
    assert "ValueError: bad" in record["stack"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"time": "2030-01-02T12:00:01.5+00:00", "level": "info", "message": "hello"}', "12:00:01 hello"),
        ('{"time": "2030-01-02T12:00:01Z", "level": "error", "message": "no"}', "12:00:01 ERROR no"),
        ('{"level": "warning", "message": "no", "stack": "Traceback"}', "WARNING no Traceback"),
        ("plain", "plain"),
        ("{broken", "{broken"),
    ],
)
def test_people_read_lines(line: str, shown: str) -> None:
    assert format_log_line(line) == shown
