"""The benchmark of the operator in small: it runs to its end, and what it counts is within the goals.

No figure of time is asserted here: those are for `make bench-operator` on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.boxes import missing_means
from testbed.builds import KUBERNETES, KWOK, missing_for, need

pytestmark = [pytest.mark.cluster, pytest.mark.exhaustive]
ROOT = Path(__file__).parents[2]
SMALL = ("--jobs", "50", "--rounds", "1", "--idle", "50", "--seconds", "2", "--steady", "2", "--untidy")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    need([*missing_means(), *missing_for(KUBERNETES, KWOK)])
    folder = tmp_path_factory.mktemp("scale")
    files = ("--figures", str(folder / "figures.json"), "--write", str(folder / "page.md"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/operator_scale.py"), *SMALL, *files],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return {**found, "page": (folder / "page.md").read_text()}


def test_a_job_runs_after_at_most_ten_writes_and_its_policy_by_either_count(figures: dict[str, Any]) -> None:
    slowest_rate = min(figures["latency"], key=lambda each: each["rate"])
    served, own = (slowest_rate[name] for name in ("writes_per_job", "own_writes_per_job"))
    assert served["pods"] == 4
    assert served["services"] == served["policies"] == 1
    assert served["secrets"] == pytest.approx(1 + 1 / slowest_rate["jobs"]), "and that of the namespace"
    assert sum(served.values()) - served["policies"] - 1 / slowest_rate["jobs"] <= 10.001
    assert sum(own.values()) == pytest.approx(sum(served.values()), abs=0.5)


def test_both_sides_created_the_same_pods(figures: dict[str, Any]) -> None:
    creation = figures["creation"]
    assert (creation["jobs"], creation["pods"], len(creation["rounds"])) == (50, 200, 1)
    assert figures["latency"]
    for each in figures["latency"]:
        assert each["seen"] == each["jobs"] == 2 * each["rate"]


def test_the_page_tells_every_goal(figures: dict[str, Any]) -> None:
    verdicts = [line for line in figures["page"].splitlines() if line.endswith((": met |", ": missed |"))]
    assert len(verdicts) == 4
