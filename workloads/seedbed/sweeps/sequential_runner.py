"""Trials one after the other in this process: what any other way to run them must agree with, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seedbed.ray_cluster.cluster_interface import Cluster, StopRequested
from seedbed.sweeps.hang_watchdog import Watch
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_state import Standing
from seedbed.sweeps.trial_runner import Stretch, Tell, advance
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError
from seedbed_api.exponential_backoff import ExponentialBackoff

BACKOFF = ExponentialBackoff(first=1.0, longest=60.0)


def run_in_turn(
    standing: Standing, *, stopping: threading.Event, display: SweepDisplay, cluster: Cluster | None = None
) -> None:
    """Train whatever comes next until the search has ended, on `cluster` or on this machine.

    Raises StopRequested, and UserError of a run.
    """
    while (stretch := next(standing.open_stretches(), None)) is not None:
        if stopping.is_set():
            raise StopRequested
        display.begin(stretch)
        _try(standing, stretch, stopping=stopping, display=display, cluster=cluster)
        display.end(stretch)
        display.show(standing)


def _try(
    standing: Standing,
    stretch: Stretch,
    *,
    stopping: threading.Event,
    display: SweepDisplay,
    cluster: Cluster | None,
) -> None:
    try:
        with _watched(standing, stretch, display=display, cluster=cluster) as tell:
            reached = advance(standing.sweep, stretch, stopping=stopping, tell=tell, cluster=cluster)
    except InfrastructureError as error:
        display.notice(f"trial {stretch.trial}: {error.reason}: {error.message}")
        if standing.note_trouble(stretch, error):
            stopping.wait(BACKOFF.delay(standing.tries[stretch.trial, stretch.place]))
    else:
        standing.note(stretch, reached)
        display.explain(stretch, reached)


@contextmanager
def _watched(
    standing: Standing, stretch: Stretch, *, display: SweepDisplay, cluster: Cluster | None
) -> Iterator[Tell]:
    """Show how far a run is, and end what hangs here; what hangs on a cluster its operator ends."""
    if cluster is not None:
        yield lambda progress: display.update(stretch, progress)
        return
    with Watch(standing.sweep.spec, tell=display.notice) as watch:

        def tell(progress: RunProgress) -> None:
            watch.note(progress)
            display.update(stretch, progress)

        yield tell
