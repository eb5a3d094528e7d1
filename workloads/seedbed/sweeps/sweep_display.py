"""Display of a sweep: a live table on a terminal, plain lines elsewhere, always on stderr.

stdout stays free for `-o json`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from seedbed.search.objective_values import format_objective
from seedbed.search.trial_decisions import DecidedTrial, TrialState
from seedbed.search.trial_ranking import count_trials, rank_trials
from seedbed.search.trial_segment import RunKey, SegmentResult, TrialSegment
from seedbed.training.run_progress import RunProgress
from seedbed_api.printable_text import on_one_line

if TYPE_CHECKING:
    from seedbed.sweeps.trial_scheduler import SweepState

_BEST_ROWS = 5
_RUNNING_ROWS = 16


@dataclass(kw_only=True, slots=True)
class SweepTable:
    """Content of the live table: running segments and the best finished trials."""

    title: str
    running: dict[RunKey, tuple[TrialSegment, RunProgress | None]] = field(default_factory=dict)
    trials: list[DecidedTrial] = field(default_factory=list)
    best: list[DecidedTrial] = field(default_factory=list)
    total: int = 0

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield trial, state, objective and values, the best first, then running segments."""
        for trial in self.best[:_BEST_ROWS]:
            yield (
                str(trial.index),
                str(trial.state).lower(),
                objective_text(trial),
                _values(dict(trial.assignments)),
            )
        for (index, _), (segment, progress) in sorted(self.running.items())[:_RUNNING_ROWS]:
            fold = "" if segment.fold is None else f" fold {segment.fold}"
            yield f"{index}{fold}", _state(progress), _accuracy(progress), _values(segment.values)

    def summary(self) -> str:
        """Return the line below the table."""
        known = count_trials(self.trials)
        states = f"{known.succeeded} succeeded  {known.pruned} pruned  {known.failed} failed"
        return f"{len(self.trials)}/{self.total} trials decided  {states}"


class SweepDisplay:
    """Shows the trials of one sweep. A context manager that restores the terminal."""

    def __init__(self, title: str, *, stream: TextIO | None = None, interactive: bool | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._interactive = self._stream.isatty() if interactive is None else interactive
        self._table = SweepTable(title=title)
        self._shown: set[int] = set()
        self._live: Live | None = None
        self._log: TextIO | None = None

    def __enter__(self) -> Self:
        if self._interactive:
            self._live = _live(self._stream, self._table)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._stream.flush()

    def begin(self, segment: TrialSegment) -> None:
        """Show that a segment has started."""
        self._table.running[segment.key] = (segment, None)

    def update(self, segment: TrialSegment, progress: RunProgress) -> None:
        """Show the progress of a segment."""
        self._table.running[segment.key] = (segment, progress)

    def end(self, segment: TrialSegment) -> None:
        """Remove a segment that has ended or failed."""
        self._table.running.pop(segment.key, None)

    def show_problem(self, segment: TrialSegment, result: SegmentResult) -> None:
        """Show why a run failed."""
        if result.problem:
            self.notice(f"trial {segment.trial}: {result.problem}")

    def show(self, state: SweepState) -> None:
        """Show the trials decided since the last call."""
        self._table.trials = state.decided
        self._table.total = state.search.sampler.total
        if self._live is not None:
            self._table.best = rank_trials(self._table.trials, state.search.goal)
        for trial in self._table.trials:
            if trial.index not in self._shown:
                self._shown.add(trial.index)
                reused = "  computed before" if state.is_reused(trial) else ""
                self._show_trial(f"{trial_line(trial)}{reused}")

    @contextmanager
    def copy_to(self, log: TextIO) -> Iterator[None]:
        """Copy all lines to a log meanwhile, also those that the table shows."""
        self._log = log
        try:
            yield
        finally:
            self._log = None

    def notice(self, text: str) -> None:
        """Print one line."""
        self._write_log(text)
        if self._live is None:
            print(on_one_line(f"{self._table.title}  {text}"), file=self._stream, flush=True)
        else:
            self._live.console.print(f"• {on_one_line(text)}", style="yellow", markup=False, highlight=False)

    def print_ranking(self, trials: Sequence[DecidedTrial]) -> None:
        """Print the final ranking, best first."""
        self._close()
        for rank, trial in enumerate(trials, start=1):
            print(on_one_line(f"{rank:>3}  {trial_line(trial)}"), file=self._stream)

    def finish(self, rows: Mapping[str, str]) -> None:
        """Print the final table, label -> value."""
        self._close()
        width = max(map(len, rows), default=0)
        for label, value in rows.items():
            print(on_one_line(f"{label:<{width}}  {value}"), file=self._stream)

    def _show_trial(self, text: str) -> None:
        """Print a decided trial unless the table shows it."""
        if self._live is None:
            self.notice(text)
        else:
            self._write_log(text)

    def _write_log(self, text: str) -> None:
        if self._log is not None:
            self._log.write(f"{text}\n")

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def trial_line(trial: DecidedTrial) -> str:
    """Return a decided trial in one line."""
    words = [
        f"trial {trial.index}",
        str(trial.state).lower(),
        objective_text(trial),
        _values(dict(trial.assignments)),
    ]
    return "  ".join(word for word in words if word)


def objective_text(trial: DecidedTrial) -> str:
    """Return the objective of a trial, with the epoch of a pruned one; of a failed one the reason."""
    if trial.objective is None:
        return str(trial.reason)
    shown = format_objective(trial.objective)
    if trial.state is TrialState.PRUNED:
        return f"{shown} after epoch {trial.rungs[-1][0]}"
    return shown if trial.deviation is None else f"{shown} ± {format_objective(trial.deviation)}"


def _values(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name}={value}" for name, value in values.items())


def _state(progress: RunProgress | None) -> str:
    if progress is None:
        return "starting"
    return f"{progress.phase.lower()} {progress.step}/{progress.total_steps}"


def _accuracy(progress: RunProgress | None) -> str:
    if progress is None:
        return ""
    known = [("accuracy", progress.accuracy), *progress.scores]
    return next((f"{name} {value:.4f}" for name, value in known if value is not None), "")


def _live(stream: TextIO, view: SweepTable) -> Live:
    console = Console(file=stream, force_terminal=True)
    return Live(get_renderable=lambda: _table(view), console=console, refresh_per_second=4, transient=True)


def _table(view: SweepTable) -> Table:
    table = Table(title=Text(view.title), caption=Text(view.summary()), expand=True)
    for name in ("trial", "state", "objective", "parameters"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for row in view.rows():
        table.add_row(*(Text(on_one_line(cell)) for cell in row))
    return table
