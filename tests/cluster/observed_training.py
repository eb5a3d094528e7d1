"""A training as a driver's pod would run it, without a pod, with a cache of a given size: `python -m cluster.observed_training`.

It goes on until it is ended.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from cluster.observed_driver import served  # before the rest: it pins the environment
from seedbed.driver.driver_state import DriverState, RunRequest
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.resolve_run import RunOptions
from seedbed.driver.run_driver import run_job
from seedbed_api.manifest_loader import training_job


def main() -> None:
    """Train and serve."""
    told = json.loads(sys.stdin.readline())
    request = RunRequest(
        job=training_job(told["job"]),
        options=RunOptions(device="cpu", cache_folder=Path(told["cache"]), cache_bytes=told["cacheBytes"]),
        display=ProgressDisplay("provoking", interactive=False),
        stopping=threading.Event(),
    )
    state = DriverState(request=request)
    with served(state, told["port"], told["uid"]):
        assert run_job(request, state).error is None


if __name__ == "__main__":
    main()
