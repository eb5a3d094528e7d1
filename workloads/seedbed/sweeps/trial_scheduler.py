"""What is asked and told while trials run side by side: what comes next, what came of it. No Ray here.

The answers come in any order; what they decide is the search's, and is the same for every order.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from seedbed.sweeps.sequential_runner import BACKOFF
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_state import Standing
from seedbed.sweeps.trial_runner import Reached, Stretch
from seedbed.training.run_progress import RunProgress
from seedbed_api.errors import InfrastructureError, SeedbedError

_HANG = InfrastructureError(
    "ProgressDeadlineExceeded", "no step came for spec.progressDeadlineSeconds; its process was ended"
)

Answer = Reached | SeedbedError | None
"""What a stretch came to; None where it was told to stop."""


@dataclass(kw_only=True, slots=True)
class Conducting:
    """A sweep whose stretches run elsewhere, each under a name that is given to it there."""

    standing: Standing
    stopping: threading.Event
    display: SweepDisplay
    most: int | None = None
    """Stretches that are handed out at a time; None: all that may be trained."""
    running: dict[str, Stretch] = field(default_factory=dict)
    not_before: dict[tuple[int, int], float] = field(default_factory=dict)
    """When a run may be tried again, by the monotonic clock."""
    hung: set[str] = field(default_factory=set)
    """Stretches that did not move for too long; their processes are ended."""
    broken: SeedbedError | None = None
    """What ends the sweep at once."""

    @property
    def over(self) -> bool:
        """Say whether nothing more is to be trained."""
        return self.broken is not None or self.stopping.is_set() or self.standing.search.ended is not None

    def next(self, name: str) -> Stretch | None:
        """Return what is to be trained next, from now on under `name`; None while nothing may begin."""
        if self.most is not None and len(self.running) >= self.most:
            return None
        busy = {(stretch.trial, stretch.place) for stretch in self.running.values()}
        for stretch in self.standing.open_stretches():
            where = (stretch.trial, stretch.place)
            if where not in busy and time.monotonic() >= self.not_before.get(where, 0.0):
                self.running[name] = stretch
                self.display.begin(stretch)
                return stretch
        return None

    def in_vain(self, name: str) -> bool:
        """Say whether what is trained decides nothing any more."""
        stretch = self.running.get(name)
        return stretch is None or self.over or not self.standing.search.is_needed(stretch.trial)

    def tell(self, name: str, progress: RunProgress) -> None:
        """Show how far a run is."""
        if name in self.running:
            self.display.update(self.running[name], progress)

    def note_hang(self, name: str) -> None:
        """Take in that a run does not move; that its process is lost follows."""
        self.hung.add(name)

    def answered(self, name: str, answer: Answer) -> None:
        """Take in what a stretch came to; of two answers the first counts."""
        stretch = self.running.pop(name, None)
        if stretch is None:
            return
        if name in self.hung and isinstance(answer, InfrastructureError):
            answer = _HANG
        match answer:
            case Reached():
                self.standing.note(stretch, answer)
                self.display.explain(stretch, answer)
            case InfrastructureError():
                self._note_trouble(stretch, answer)
            case SeedbedError():
                self.broken = self.broken or answer
        self.display.end(stretch)
        self.display.show(self.standing)

    def _note_trouble(self, stretch: Stretch, error: InfrastructureError) -> None:
        self.display.notice(f"trial {stretch.trial}: {error.reason}: {error.message}")
        if self.standing.note_trouble(stretch, error):
            where = (stretch.trial, stretch.place)
            self.not_before[where] = time.monotonic() + BACKOFF.delay(self.standing.tries[where])
