"""Trials one after the other in this process: what any other way to run them must agree with, bit for bit."""

from __future__ import annotations

import threading

from seedbed.runtime.clusters import Cluster, ToldToStop
from seedbed.sweeps.display import SweepDisplay
from seedbed.sweeps.standing import Standing
from seedbed.sweeps.trials import Stretch, advance
from seedbed_api.errors import InfrastructureError

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


def run_in_turn(
    standing: Standing, *, stopping: threading.Event, display: SweepDisplay, cluster: Cluster | None = None
) -> None:
    """Train whatever comes next until the search has ended, on `cluster` or on this machine.

    Raises ToldToStop, and UserError of a run.
    """
    while (stretch := next(standing.open_stretches(), None)) is not None:
        if stopping.is_set():
            raise ToldToStop
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
        reached = advance(
            standing.sweep,
            stretch,
            stopping=stopping,
            tell=lambda progress: display.update(stretch, progress),
            cluster=cluster,
        )
    except InfrastructureError as error:
        display.notice(f"trial {stretch.trial}: {error.reason}: {error.message}")
        if standing.note_trouble(stretch, error):
            stopping.wait(pause_seconds(standing.tries[stretch.trial, stretch.place]))
    else:
        standing.note(stretch, reached)
        display.explain(stretch, reached)


def pause_seconds(tries: int) -> float:
    """Return how long to wait after so many tries in a row that failed, at least one."""
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 30), _LONGEST_PAUSE_SECONDS)
