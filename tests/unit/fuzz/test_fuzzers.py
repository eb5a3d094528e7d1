"""Odd bytes for every reader of strangers' bytes: no crash, no hang, no growth, and errors of bounded lines.

A few hundred cases per format every day, a million in all in the exhaustive tier (SEEDBED_FUZZ_CASES changes it).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.fuzz.targets import TARGETS

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[2]


def fuzzed(target: str, cases: int, *, seed: int = 1, before: str = "") -> subprocess.CompletedProcess[str]:
    """Fuzz a target in a process of its own, after running some code in it."""
    program = f"{before}\nfrom support.fuzz.fuzz_process import main; import sys; sys.exit(main({target!r}, {cases}, {seed}))"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_odd_bytes_are_read_or_refused(target: str) -> None:
    found = counts(fuzzed(target, 150))
    assert found["read"] + found["refused"] == 150


def share(target: str) -> int:
    """Return how many cases the exhaustive tier makes of a target."""
    whole = sum(make().cases for make in TARGETS.values())
    return TARGETS[target]().cases * int(os.environ.get("SEEDBED_FUZZ_CASES", whole)) // whole


@pytest.mark.exhaustive
def test_the_exhaustive_tier_makes_a_million_cases() -> None:
    assert sum(make().cases for make in TARGETS.values()) >= 1_000_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", TARGETS)
def test_a_share_of_a_million_odd_bytes(target: str) -> None:
    found = counts(fuzzed(target, share(target), seed=2))
    print(json.dumps(found))
    assert found["read"] + found["refused"] == share(target)


MUTANTS = {
    "JSON that is parsed by Python's own parser": (
        "receipt",
        "import json, seedbed.receipts.receipt_store as store; store.parse_json = json.loads",
        2_000,
    ),
    "a wheel whose damage is not foreseen": (
        "wheel",
        "import zipfile, seedbed.usercode.wheel_files as wheels; wheels._DAMAGE = (zipfile.BadZipFile,)",
        2_000,
    ),
    "a record whose fields are not checked": (
        "checkpoint-record",
        "from unittest import mock; import seedbed.runs.checkpoint_store as store; store._DOCUMENT = mock.Mock(); "
        "store.CheckpointRecord.__init__ = lambda self, **fields: int(fields['step'])",
        2_000,
    ),
}


@pytest.mark.parametrize(("target", "mutant", "cases"), MUTANTS.values(), ids=MUTANTS)
def test_a_reader_without_a_bound_is_found(target: str, mutant: str, cases: int) -> None:
    done = fuzzed(target, cases, before=mutant)
    assert done.returncode == 1, done.stdout
    assert "Traceback" in done.stderr
