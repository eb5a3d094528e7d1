"""What pods have said is found by run, job or uid, in the order of time, also while it grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from seedbed.cli import cli
from seedbed.runs.attempt_claims import claim_attempt
from seedbed.runs.log_store import PodLog, list_logs, read_in_order, select_logs
from seedbed.runs.process_identity import TURN_VARIABLE
from seedbed.runs.run_folder import open_run
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import UserError

RUN = "sha256:" + "ab" * 32


def record(second: int, message: str) -> str:
    return json.dumps({"time": f"2030-01-02T12:00:{second:02}+00:00", "message": message}) + "\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A job of two attempts, which trained one run, and another job of the same name elsewhere."""
    output = open_storage(str(tmp_path))
    output.put("logs/u1/1/digits-1-driver/000000.log", (record(1, "a") + record(4, "d")).encode())
    output.put("logs/u1/1/digits-1-worker-0/000000.log", (record(2, "b") + "plain\n").encode())
    output.put("logs/u1/2/digits-2-driver/000000.log", (record(1, "x") + "cut in ").encode())
    output.put("logs/u1/2/digits-2-driver/000001.log", b"two\n")
    output.put("logs/u2/1/digits-1-driver/000000.log", record(9, "other").encode())
    output.put("logs/u3/1/flowers-1-driver/000000.log", record(9, "flowers").encode())
    for turn in ("u1/1", "u1/2"):
        monkeypatch.setenv(TURN_VARIABLE, turn)
        claim_attempt(open_run(output, RUN), int(turn[-1]), workers=1, version="0")
    return output


def said(store: Storage, named: str, attempt: int | None = None) -> list[str]:
    logs = select_logs(store, list_logs(store), named, attempt=attempt).logs
    lines = (line for _, line in read_in_order(store, logs, last=True))
    return [json.loads(line)["message"] if line.startswith("{") else line for line in lines]


@pytest.mark.parametrize(
    ("named", "attempt", "expected"),
    [
        pytest.param(RUN, None, ["a", "b", "plain", "d", "x", "cut in two"], id="by the identity of a run"),
        pytest.param("abab", None, ["a", "b", "plain", "d", "x", "cut in two"], id="by its first digits"),
        pytest.param("u1", 2, ["x", "cut in two"], id="one attempt of an object"),
        pytest.param("flowers", None, ["flowers"], id="by the name of a job"),
    ],
)
def test_the_lines_of_all_pods_come_by_their_times(
    store: Storage, named: str, attempt: int | None, expected: list[str]
) -> None:
    assert said(store, named, attempt) == expected


LOCAL, OTHER, SWEEP = "12" * 32, "34" * 32, "56" * 32


@pytest.fixture
def laptop(tmp_path: Path) -> Storage:
    """Runs on one machine: one was continued, another has the same name, and a sweep trained the latter before."""
    output = open_storage(str(tmp_path))
    output.put(f"logs/{LOCAL}/1/digits-1-driver/000000.log", record(1, "a").encode())
    output.put(f"logs/{LOCAL}/2/digits-2-driver/000000.log", record(2, "b").encode())
    output.put(f"logs/{OTHER}/1/rates-trial-3-1-driver/000000.log", record(3, "trial").encode())
    output.put(f"logs/{OTHER}/2/digits-2-driver/000000.log", record(4, "job").encode())
    output.put(f"logs/{SWEEP}/1/rates-1-driver/000000.log", record(5, "decided").encode())
    for run, attempts in ((LOCAL, 3), (OTHER, 2)):
        for attempt in range(1, attempts + 1):
            claim_attempt(open_run(output, f"sha256:{run}"), attempt, workers=1, version="0")
    return output


@pytest.mark.parametrize(
    ("named", "attempt", "expected"),
    [
        pytest.param(f"sha256:{LOCAL}", None, ["a", "b"], id="a run that was continued, and pruned once"),
        pytest.param("1212", 2, ["b"], id="one attempt of it"),
        pytest.param("3434", None, ["trial", "job"], id="a run of a sweep that a job found again"),
        pytest.param("rates", None, ["decided"], id="a sweep by its name"),
        pytest.param("rates-trial-3", None, ["trial"], id="a trial by its name"),
        pytest.param("56565", None, ["decided"], id="a sweep by its first digits"),
    ],
)
def test_runs_on_one_machine_are_found_like_those_in_pods(
    laptop: Storage, named: str, attempt: int | None, expected: list[str]
) -> None:
    assert said(laptop, named, attempt) == expected


@pytest.mark.parametrize(
    ("named", "attempt", "words"),
    [
        pytest.param("121", None, "has no log here (got '121')", id="too few digits"),
        pytest.param("cdcd", None, "has no log here (got 'cdcd')", id="nothing"),
        pytest.param("digits", 7, "has no log of attempt 7 here (got 'digits')", id="no such attempt"),
        pytest.param("7777", None, "begins the uids of several jobs (got '7777')", id="digits of two sweeps"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_can(
    laptop: Storage, named: str, attempt: int | None, words: str
) -> None:
    for end in ("a", "b"):
        laptop.put(f"logs/7777{end * 60}/1/widths-1-driver/000000.log", b"")
    with pytest.raises(UserError) as caught:
        said(laptop, named, attempt)
    assert caught.value.message.startswith(f"RUN: {words}")
    assert "widths (7777" in caught.value.message


def test_of_several_jobs_of_a_name_the_newest_is_told_and_the_others_are_named(store: Storage) -> None:
    store.put("logs/a-newer-one/1/digits-1-driver/000000.log", record(30, "created again").encode())
    found = select_logs(store, list_logs(store), "digits", attempt=None)
    assert ({log.uid for log in found.logs}, found.others) == ({"a-newer-one"}, ("u2", "u1"))
    assert select_logs(store, list_logs(store), "u2", attempt=None).others == (), "an object is itself"


def test_of_several_runs_of_a_name_too(laptop: Storage) -> None:
    assert said(laptop, "digits") == ["job"]


def test_the_command_tells_in_one_line_of_older_jobs_of_the_name(store: Storage, tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["logs", str(tmp_path), "digits"])
    assert told.stdout == "digits-1-driver  12:00:09 other\n"
    assert told.stderr == (
        "digits: the newest of 2 jobs of this name; for an older one give its uid instead: u1\n"
    )


def test_a_log_that_grows_is_told_once(store: Storage) -> None:
    (log,) = select_logs(store, list_logs(store), "flowers", attempt=None).logs
    path = log.pieces[0]
    seen: list[str] = []
    content = store.read(path)
    for more in (b"half ", b"a line\n", b"next\n"):
        seen += [line for _, line in log.read_new(store, last=False)]
        content += more
        store.put(path, content)
    seen += [line for _, line in log.read_new(store, last=False)]
    assert seen == [record(9, "flowers").rstrip(), "half a line", "next"]


def test_an_empty_store_has_no_logs(tmp_path: Path) -> None:
    assert list_logs(open_storage(str(tmp_path))) == []
    told = CliRunner().invoke(cli, ["logs", str(tmp_path)])
    assert (told.exit_code, told.stdout) == (0, "")
    assert "no logs here" in told.stderr


def test_the_command_prints_who_said_what(store: Storage, tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["logs", str(tmp_path), "abab", "--attempt", "1"])
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        "digits-1-driver    12:00:01 a",
        "digits-1-worker-0  12:00:02 b",
        "digits-1-worker-0  plain",
        "digits-1-driver    12:00:04 d",
    ]
    listed = CliRunner().invoke(cli, ["logs", str(tmp_path)])
    assert listed.stdout.splitlines() == [
        "digits  u1  attempts 1 to 2  3 logs",
        "digits  u2  attempt 1  1 log",
        "flowers  u3  attempt 1  1 log",
    ]


def test_the_name_of_a_pod_tells_its_job() -> None:
    assert PodLog(uid="u", attempt=1, pod="a-1-driver-1-worker-3").job == "a-1-driver"
    assert PodLog(uid="u", attempt=1, pod="rates-2-sweep-worker-3").job == "rates"
    assert PodLog(uid="u", attempt=1, pod="stranger").job == "stranger"
