"""What `make test` says at its end: every tier runs, whatever another one did, and all tests are counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.eventually import eventually

TIERS = Path(__file__).parents[2] / "tiers.sh"
MAKE = """#!/usr/bin/env bash
case $2 in
  passes) echo "5 0 1" >> "$SEEDBED_TEST_COUNTS" ;;
  two-parts) printf '2 0 0\\n3 0 4\\n' >> "$SEEDBED_TEST_COUNTS" ;;
  fails) echo "3 2 0" >> "$SEEDBED_TEST_COUNTS"; exit 2 ;;
  ends-before-its-tests) exit 2 ;;
  several) printf '  one: 3 s\\n  other: 4 s\\n' >> "$SEEDBED_TEST_TIMES"; echo "1 0 0" >> "$SEEDBED_TEST_COUNTS" ;;
  prints) echo "$2 1"; sleep 0.2; echo "$2 2"; echo "1 0 0" >> "$SEEDBED_TEST_COUNTS" ;;
  waits) until [ -e "$FOLDER/signal" ]; do sleep 0.02; done; echo "1 0 0" >> "$SEEDBED_TEST_COUNTS" ;;
  signals) touch "$FOLDER/signal"; echo "1 0 0" >> "$SEEDBED_TEST_COUNTS" ;;
  sleeps) echo $$ > "$FOLDER/pid"; exec sleep 600 ;;
esac
"""


def run(folder: Path, *tiers: str, **variables: str) -> tuple[int, list[str]]:
    with started(folder, *tiers, **variables) as process:
        output, _ = process.communicate(timeout=60)
    return process.returncode, output.splitlines()


def started(folder: Path, *tiers: str, **variables: str) -> subprocess.Popen[str]:
    (folder / "make").write_text(MAKE)
    (folder / "make").chmod(0o755)
    (folder / "nproc").write_text("#!/bin/sh\necho ${CORES:-2}\n")
    (folder / "nproc").chmod(0o755)
    own = {"PATH": f"{folder}:{os.environ['PATH']}", "FOLDER": str(folder)}
    return subprocess.Popen(
        [TIERS, *tiers], env={**os.environ, **own, **variables}, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("tiers", "code", "last"),
    [
        pytest.param(("passes",), 0, "5 passed, 0 failed, 1 skipped", id="one tier"),
        pytest.param(("passes", "two-parts"), 0, "10 passed, 0 failed, 5 skipped", id="all tiers are added"),
        pytest.param(("fails", "passes"), 1, "8 passed, 2 failed, 1 skipped", id="a failure stops no tier"),
        pytest.param(
            ("ends-before-its-tests", "passes"),
            1,
            "5 passed, 1 failed, 1 skipped",
            id="a tier without a count has failed as one",
        ),
        pytest.param((), 0, "0 passed, 0 failed, 0 skipped", id="nothing to run"),
        pytest.param(
            ("fails", "passes", "+", "two-parts"),
            1,
            "13 passed, 2 failed, 5 skipped",
            id="two lanes are added",
        ),
    ],
)
def test_the_last_line_counts_the_tests_of_all_tiers(
    tmp_path: Path, tiers: tuple[str, ...], code: int, last: str
) -> None:
    ended, lines = run(tmp_path, *tiers)
    assert (ended, lines[-1]) == (code, last)


def test_each_tier_says_how_it_ended(tmp_path: Path) -> None:
    _, lines = run(tmp_path, "fails", "passes")
    assert [line.rpartition(":")[0] for line in lines[:-1]] == ["failed: fails", "passes"]


def test_a_target_of_several_tiers_says_what_each_took(tmp_path: Path) -> None:
    _, lines = run(tmp_path, "several", "passes")
    assert [line.rpartition(":")[0] for line in lines[:-1]] == ["several", "  one", "  other", "passes"]


def test_a_tier_that_comes_too_late_is_told_as_not_run(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "passes", SEEDBED_TEST_MINUTES="-1")
    assert (code, lines[0].partition(": the")[0]) == (0, "not run: passes")


def test_a_lane_runs_beside_another(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "waits", "+", "signals")
    assert (code, lines[-1]) == (0, "2 passed, 0 failed, 0 skipped")


def test_one_core_runs_one_tier_at_a_time(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "signals", "+", "waits", CORES="1")
    assert (code, lines[-1]) == (0, "2 passed, 0 failed, 0 skipped")
    assert not [line for line in lines if line.startswith("begins")]


def test_what_lanes_print_is_not_mixed(tmp_path: Path) -> None:
    _, lines = run(tmp_path, "prints", "+", "prints", "+", "prints")
    printed = [line for line in lines if line.startswith(("==", "prints 1", "prints 2"))]
    assert printed == ["== prints", "prints 1", "prints 2"] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_all_lanes(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, "sleeps", "+", "passes") as process:
        eventually(
            lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), what="the tier's pid"
        )
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    tier = int((tmp_path / "pid").read_text())
    eventually(lambda: not Path(f"/proc/{tier}").exists(), what="the end of the tier")


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["0", "2"])
def test_pytest_adds_its_counts_once(tmp_path: Path, processes: str) -> None:
    """The counting of `tests/conftest.py`, in a session of its own."""
    counts = tmp_path / "counts"
    tests = Path(__file__).parents[2]
    chosen = str(Path(__file__).with_name("test_cgroups.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", processes, chosen]
    environment = {**os.environ, "SEEDBED_TEST_COUNTS": str(counts)}
    done = subprocess.run(
        command, env=environment, cwd=tests.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    (line,) = counts.read_text().splitlines()
    assert f"{line.split()[0]} passed in" in done.stdout
    assert line.split()[1:] == ["0", "0"]
