"""What a sweep says of itself before it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.sweeps.sweep_driver import sequential_notices
from seedbed_api.manifest_loader import sweep_job
from support.runs.sweep_commands import a_sweep

RAY_DATA = {"cluster": {"feed": "RayData"}}
STORIES: dict[str, tuple[dict[str, Any], str | None]] = {
    "alone, one at a time": ({"parallelTrialCount": 1}, None),
    "alone, several at a time": ({"parallelTrialCount": 4}, None),
    "of two workers, one at a time": ({"workersPerTrial": 2}, None),
    "of two workers, several at a time": (
        {"workersPerTrial": 2, "parallelTrialCount": 4},
        "parallelTrialCount 4 is not used: spec.workersPerTrial is 2",
    ),
    "fed by Ray Data": (
        {"parallelTrialCount": 2, **RAY_DATA},
        "parallelTrialCount 2 is not used: spec.cluster.feed is RayData",
    ),
}


@pytest.mark.parametrize(("changes", "told"), STORIES.values(), ids=STORIES)
def test_trials_that_run_in_turn_although_more_were_asked_for_say_why(
    changes: dict[str, Any], told: str | None
) -> None:
    job = sweep_job(a_sweep(Path("data"), Path("runs"), **changes))
    lines = list(sequential_notices(job.spec))
    assert len(lines) == (told is not None)
    assert all(told in line for line in lines if told)
