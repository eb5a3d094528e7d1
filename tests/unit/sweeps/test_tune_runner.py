"""What is said of an actor that is gone: Ray's own words, without the causes that it merely thinks possible."""

from __future__ import annotations

import pytest
from ray.exceptions import OutOfMemoryError

from seedbed.sweeps.tune_runner import lost_actor_error, resources_per_trial

DIED = """The actor died unexpectedly before finishing this task.
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed
by the OOM killer due to high memory usage"""


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        pytest.param(
            Exception(DIED),
            "WorkersLost",
            "its process was lost: Worker unexpectedly exits with a connection error code 2",
            id="a crash, of which Ray thinks that memory may be the cause",
        ),
        pytest.param(
            OutOfMemoryError("Task was killed"),
            "OutOfMemory",
            "its process was lost: Task was killed",
            id="memory",
        ),
        pytest.param(None, "WorkersLost", "its process was lost: no detail given", id="nothing is said"),
    ],
)
def test_why_an_actor_was_lost(error: Exception | None, reason: str, message: str) -> None:
    lost = lost_actor_error(error)
    assert (lost.reason, lost.message) == (reason, message)


@pytest.mark.parametrize("slots", range(1, 9))
@pytest.mark.parametrize("cpus", [1, 2, 4, 7, 64])
def test_as_many_runs_fit_as_there_are_slots(slots: int, cpus: int) -> None:
    share = resources_per_trial({"CPU": float(cpus)}, slots=slots)["CPU"]
    assert slots * share <= cpus < (slots + 1) * share


@pytest.mark.parametrize(("gpus", "slots", "share"), [(8, 4, 1.0), (1, 4, 0.25), (2, 3, 0.666)])
def test_a_run_takes_at_most_one_gpu_and_shares_where_there_are_fewer(
    gpus: int, slots: int, share: float
) -> None:
    assert resources_per_trial({"CPU": 8.0, "GPU": float(gpus)}, slots=slots)["GPU"] == share
