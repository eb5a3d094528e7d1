"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from seedbed.search.decisions import Decided, State
from seedbed.search.objectives import spelled
from seedbed.sweeps.standing import Standing
from seedbed.sweeps.trials import Stretch
from seedbed.training.progress import Progress


class SweepDisplay:
    """Draw the trials of one sweep. A context manager: it gives the terminal back on every way out."""

    def __init__(self, title: str, *, stream: TextIO | None = None) -> None:
        self._title = title
        self._stream = stream if stream is not None else sys.stderr
        self._told: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def begin(self, stretch: Stretch) -> None:
        """Show that a run is trained now."""

    def update(self, stretch: Stretch, progress: Progress) -> None:
        """Show how far a run is."""

    def show(self, standing: Standing) -> None:
        """Show what has been decided since the last time."""
        for trial in standing.decided:
            if trial.index not in self._told:
                self._told.add(trial.index)
                reused = "" if standing.computed.get(trial.index) else "  computed before"
                self.notice(f"{_line(trial)}{reused}")

    def notice(self, text: str) -> None:
        """Show one line that stays."""
        print(f"{self._title}  {text}", file=self._stream, flush=True)

    def ranking(self, trials: Sequence[Decided]) -> None:
        """Show the final ranking, best first."""
        for rank, trial in enumerate(trials, start=1):
            print(f"{rank:>3}  {_line(trial)}", file=self._stream)

    def finish(self, rows: Mapping[str, str]) -> None:
        """Show the final table, label -> value."""
        width = max(map(len, rows), default=0)
        for label, value in rows.items():
            print(f"{label:<{width}}  {value}", file=self._stream)


def _line(trial: Decided) -> str:
    values = "  ".join(f"{name}={value}" for name, value in trial.point)
    words = [f"trial {trial.index}", str(trial.state).lower(), _figure(trial), values]
    return "  ".join(word for word in words if word)


def _figure(trial: Decided) -> str:
    if trial.objective is None:
        return str(trial.reason)
    shown = spelled(trial.objective)
    if trial.state is State.PRUNED:
        return f"{shown} after epoch {trial.rungs[-1][0]}"
    return shown if trial.deviation is None else f"{shown} ± {spelled(trial.deviation)}"
