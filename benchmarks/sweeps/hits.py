"""Cost of a reused run: a finished sweep without its sweep record runs again, and every run is looked up.

`python benchmarks/sweeps/hits.py MANIFEST`: the sweep of the manifest has ended before.
"""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sweeps.measuring import measured, only_figures_on_stdout, tell


def main() -> None:
    """Look up every trial, in this process."""
    import os

    from seedbed.environment.environment_pins import pin_environment

    pin_environment(os.environ)
    from seedbed.driver.resolve_run import RunOptions
    from seedbed.driver.startup_timings import StartupTimings
    from seedbed.search.search_state import Search
    from seedbed.sweeps.resolve_sweep import resolve_sweep
    from seedbed.sweeps.sequential_runner import run_sequentially
    from seedbed.sweeps.sweep_display import SweepDisplay
    from seedbed.sweeps.trial_scheduler import SweepState
    from seedbed_api.manifest_loader import read_document, sweep_job

    with only_figures_on_stdout():
        document, place = read_document(Path(sys.argv[1]), wanted="SweepJob")
        sweep = resolve_sweep(sweep_job(document, place), RunOptions(), StartupTimings())
        state = SweepState(sweep=sweep, search=Search(sweep.spec))
        with SweepDisplay("hits", stream=io.StringIO()) as display, measured() as stretch:
            run_sequentially(state, stopping=threading.Event(), display=display)
    assert state.reused_count == len(state.decided)
    tell(stretch, trials=len(state.decided))


if __name__ == "__main__":
    main()
