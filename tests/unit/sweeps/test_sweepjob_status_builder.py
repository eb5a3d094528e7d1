"""The status of a sweep stays small, however long it is and however long its values are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs.sweep_record import FinishedSweep
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialRuns, TrialState
from seedbed.sweeps.sweepjob_status_builder import SweepStatusInputs, build_sweep_status
from seedbed_api.errors import InfrastructureError
from seedbed_api.manifest_loader import sweep_job
from seedbed_api.sweepjob_status import SweepJobStatus
from support.runs.sweep_commands import a_sweep

MOST_BYTES = 2**16
"""What a sweep may add to its object in the API server."""
TRIALS = 5000
LONGEST_NAME = "n" * 60
LONGEST_VALUE = "v" * 254
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "f" * 64


def the_longest_job() -> Any:
    """Return a sweep over 32 model arguments whose names and values are as long as they may be."""
    parameters = [
        {
            "name": f"{LONGEST_NAME}_{place:02d}",
            "modelArg": f"{LONGEST_NAME}_{place:02d}",
            "searchSpace": {"categorical": {"values": [f"{LONGEST_VALUE}-{x}" for x in "ab"]}},
        }
        for place in range(32)
    ]
    model = {"name": "simple-cnn"}
    return a_sweep(Path("data"), Path("runs"), parameters=parameters, model=model, maxTrialCount=TRIALS)


def the_longest_status(*, failure: bool = False) -> SweepJobStatus:
    document = the_longest_job()
    names = [parameter["name"] for parameter in document["spec"]["parameters"]]
    point = tuple((name, f"{LONGEST_VALUE}-a") for name in names)
    trials = tuple(
        DecidedTrial(
            index=index,
            assignments=point,
            state=TrialState.SUCCEEDED,
            objective=-(10**15) - index,
            folds=(1,) * 20,
            deviation=10**15 + 1,
        )
        for index in range(TRIALS)
    )
    trial_runs = {index: TrialRuns(run_ids=(DIGEST,) * 20, weights=(DIGEST,) * 20) for index in range(TRIALS)}
    uri = "s3://" + "b" * 900
    finished = FinishedSweep(
        ended=SweepEnd(reason=EndReason.ALL_TRIED, index=TRIALS - 1),
        trials=trials,
        trial_runs=trial_runs,
        record_uri=f"{uri}/sweeps/{'f' * 64}/ledger.json",
        digest=DIGEST,
    )
    return build_sweep_status(
        SweepStatusInputs(
            started=NOW,
            now=NOW,
            job=sweep_job(document),
            output=uri,
            trials=trials,
            trial_runs=trial_runs,
            finished=None if failure else finished,
            computed_here=True,
            failure=InfrastructureError("TrialUndecided", "m" * 4000) if failure else None,
        )
    )


@pytest.mark.parametrize("failure", [False, True], ids=["complete", "failed with a long message"])
def test_the_status_of_the_longest_sweep_is_at_most_64_kib(failure: bool) -> None:
    status = the_longest_status(failure=failure)
    document = status.model_dump_json(by_alias=True, exclude_none=True)
    assert status.trials.total == TRIALS
    assert status.best_trial is not None
    assert len(status.top_trials) >= 2, "there is room for some"
    assert len(document.encode()) <= MOST_BYTES, len(document.encode())


def test_short_values_leave_room_for_all_twenty() -> None:
    trials = [
        DecidedTrial(
            index=index, assignments=(("lr", "0.012345"),), state=TrialState.SUCCEEDED, objective=index
        )
        for index in range(TRIALS)
    ]
    job = sweep_job(a_sweep(Path("data"), Path("runs"), maxTrialCount=TRIALS))
    status = build_sweep_status(
        SweepStatusInputs(started=NOW, now=NOW, job=job, output="s3://runs", trials=trials)
    )
    assert [trial.index for trial in status.top_trials] == list(range(20))
