"""Progress display of a run on stderr: a bar on a terminal, plain lines or JSON lines elsewhere.

stdout stays free for `-o json`. Values in, characters out; rich is imported at the first use.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from seedbed.training.run_progress import RunProgress
from seedbed_api.printable_text import on_one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PLAIN_INTERVAL_SECONDS = 10.0
_LEAST_BAR_WIDTH = 12


class ProgressSink(Protocol):
    """Receives the progress and the notices of a run."""

    def update(self, progress: RunProgress) -> None:
        """Show a new state."""

    def notice(self, text: str) -> None:
        """Show one line that stays."""


class CombinedDisplay:
    """Passes progress and notices to two displays."""

    def __init__(self, first: ProgressSink, second: ProgressSink) -> None:
        self._places = first, second

    def update(self, progress: RunProgress) -> None:
        """Show a new state."""
        for place in self._places:
            place.update(progress)

    def notice(self, text: str) -> None:
        """Show one line that stays."""
        for place in self._places:
            place.notice(text)


class ProgressDisplay:
    """Draw the progress of one run. A context manager: it gives the terminal back on every way out."""

    def __init__(
        self,
        title: str,
        *,
        stream: TextIO | None = None,
        interactive: bool | None = None,
        records: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._stream = stream if stream is not None else sys.stderr
        self._interactive = self._stream.isatty() if interactive is None else interactive
        self._clock = clock
        lines = _JsonLines if records else _Lines
        self._screen: _Screen | _Lines = lines(title, stream=self._stream)

    def __enter__(self) -> Self:
        if self._interactive:
            self._screen = _Screen(self._title, stream=self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.close()

    def update(self, progress: RunProgress) -> None:
        """Show a new state; cheap enough for every step (plain lines come at most every ten seconds)."""
        self._screen.draw(progress, now=self._clock())

    def notice(self, text: str) -> None:
        """Show one line that stays: an attempt began, a worker was lost, a checkpoint was found."""
        self._screen.say(text)

    def finish(self, rows: Mapping[str, str]) -> None:
        """Close the bar and show the final table, label -> value."""
        self._screen.close()
        self._screen.table(rows)


class _Lines:
    """For logs and pipes: one line per change of epoch or attempt, and every ten seconds between."""

    def __init__(self, title: str, *, stream: TextIO) -> None:
        self._title, self._stream = title, stream
        self._last_key: tuple[object, ...] = ()
        self._last_time = float("-inf")

    def draw(self, progress: RunProgress, *, now: float) -> None:
        key = (progress.epoch, progress.attempt, progress.step == progress.total_steps)
        if key == self._last_key and now - self._last_time < PLAIN_INTERVAL_SECONDS:
            return
        self._last_key, self._last_time = key, now
        words = [progress.phase.lower(), *_words(progress), _left(progress.seconds_left)]
        self._tell("  ".join(word for word in words if word), step=progress.step)

    def say(self, text: str) -> None:
        self._tell(text)

    def table(self, rows: Mapping[str, str]) -> None:
        width = max((len(label) for label in rows), default=0)
        for label, value in rows.items():
            self._print(f"{label:<{width}}  {value}")

    def close(self) -> None:
        self._stream.flush()

    def _tell(self, text: str, *, step: int | None = None) -> None:
        del step  # it stands in the text
        self._print(f"{self._title}  {text}")

    def _print(self, line: str) -> None:
        self._stream.write(f"{on_one_line(line)}\n")  # at once: several threads tell
        self._stream.flush()


class _JsonLines(_Lines):
    """JSON lines; the log adds job, attempt and process."""

    def _tell(self, text: str, *, step: int | None = None) -> None:
        fields = {"level": "info", "message": text}
        self._print(json.dumps(fields if step is None else {**fields, "step": step}))


class _Screen:
    """For a terminal: one bar at the bottom, notices above it."""

    def __init__(self, title: str, *, stream: TextIO) -> None:
        self._console, self._title = _console(stream), title
        self._bar, self._task = _bar(self._console, title=title)
        self._bar.start()

    def draw(self, progress: RunProgress, *, now: float) -> None:
        del now  # rich keeps its own pace of redrawing
        left = _left(progress.seconds_left)
        fixed = [self._title, progress.phase, f"{progress.total_steps}/{progress.total_steps}", left]
        room = self._console.width - sum(map(len, fixed)) - len(fixed) - _LEAST_BAR_WIDTH
        self._bar.update(
            self._task,
            total=max(progress.total_steps, 1),
            completed=progress.step,
            phase=progress.phase,
            words=_fitting(_words(progress)[1:], room=room),
            left=left,
        )

    def say(self, text: str) -> None:
        self._console.print(f"• {on_one_line(text)}", style="yellow", markup=False, highlight=False)

    def table(self, rows: Mapping[str, str]) -> None:
        from rich.text import Text

        width = max((len(label) for label in rows), default=0)
        for label, value in rows.items():
            line = Text.assemble((on_one_line(f"{label:<{width}}"), "bold"), "  ", on_one_line(value))
            # left to the terminal to wrap: a digest that was cut into lines cannot be copied
            self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, force_terminal=True)


def _bar(console: Console, *, title: str) -> tuple[Bar, TaskID]:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("[bold]{task.description}", markup=True),
        TextColumn("{task.fields[phase]}", style="cyan", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total}", markup=False),
        TextColumn("{task.fields[words]}", markup=False),
        TextColumn("{task.fields[left]}", style="green", markup=False),
        console=console,
        expand=True,
        refresh_per_second=8,
    )
    from rich.markup import escape

    return bar, bar.add_task(escape(title), total=1, phase="Starting", words="", left="")


def _words(progress: RunProgress) -> list[str]:
    epoch = f"epoch {progress.epoch}" + (f"/{progress.epochs}" if progress.epochs else "")
    words = [f"step {progress.step}/{progress.total_steps} ({progress.percent} %)", epoch]
    if progress.loss is not None:
        words.append(f"loss {progress.loss:.4f}")
    if progress.accuracy is not None:
        words.append(f"accuracy {progress.accuracy:.4f}")
    words += [f"{name} {value:.4f}" for name, value in progress.scores[:2]]
    if progress.images_per_second is not None:
        words.append(f"{progress.images_per_second:,.0f} images/s")
    words.append(f"{progress.workers} worker{'s' if progress.workers != 1 else ''}")
    if progress.attempt > 1:
        words.append(f"attempt {progress.attempt}")
    return words


def _fitting(words: list[str], *, room: int) -> str:
    """Return the words that fit into `room` columns; on a narrow terminal the last ones go first."""
    kept = words
    while kept and len("  ".join(kept)) > room:
        kept = kept[:-1]
    return "  ".join(kept)


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a duration as a clock shows it: 5:07, 1:05:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
