"""What `make test` says at its end: every tier runs, whatever another one did, and all tests are counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TIERS = Path(__file__).parents[2] / "tiers.sh"
MAKE = """#!/usr/bin/env bash
case $2 in
  passes) echo "5 0 1" >> "$SEEDBED_TEST_COUNTS" ;;
  two-parts) printf '2 0 0\\n3 0 4\\n' >> "$SEEDBED_TEST_COUNTS" ;;
  fails) echo "3 2 0" >> "$SEEDBED_TEST_COUNTS"; exit 2 ;;
  ends-before-its-tests) exit 2 ;;
esac
"""


def run(folder: Path, *tiers: str, **variables: str) -> tuple[int, list[str]]:
    (folder / "make").write_text(MAKE)
    (folder / "make").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    done = subprocess.run([TIERS, *tiers], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


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


def test_a_tier_that_comes_too_late_is_told_as_not_run(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "passes", SEEDBED_TEST_MINUTES="-1")
    assert (code, lines[0].partition(": the")[0]) == (0, "not run: passes")


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
