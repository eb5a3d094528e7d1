"""What the events of a run say of its attempts: who trained what, how each ended, and where the time went.

Events of older runs have fewer fields; what they do not tell is left open, or counted as other time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from seedbed.report.run_report_data import AttemptRow, TimeSpent
from seedbed.runs.attempt_claims import highest_attempt, read_claim
from seedbed.runs.attempt_event_log import read_events
from seedbed.runs.run_folder import RunFolder

_SILENT = "Killed or lost"
_TRAINED_BY = ("data", "compute", "reduce")
"""Parts in which images are trained on."""
_PARTS = (*_TRAINED_BY, "evaluation", "checkpoint")

Event = Mapping[str, Any]


@dataclass(kw_only=True, slots=True)
class WorkerGroup:
    """One worker group, as its events tell."""

    attempt: int
    events: list[Event] = field(default_factory=list)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Return its seconds by part up to its last word; none where nobody measured them."""
        seconds: Mapping[str, float] = self.events[-1].get("seconds", {})
        return seconds

    @property
    def duration(self) -> float:
        """Return how long it trained."""
        measured = sum(self.seconds.values())
        return measured or float(self.events[-1]["time"] - self.events[0]["time"])

    @property
    def steps(self) -> int:
        """Return how many steps it computed."""
        return max(int(event["step"]) for event in self.events) - int(self.events[0]["resumedFrom"])

    @property
    def outcome(self) -> str:
        """Return what its last word says of its end; '' where it is silent."""
        return str(self.events[-1].get("outcome", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTimeline:
    """All that is told of the attempts of a run."""

    groups: Sequence[WorkerGroup]
    elapsed: Mapping[int, float]
    """How long each attempt took, as far as it told."""
    start_up: Mapping[int, float]
    ended: Mapping[int, str]
    """How those ended that could say so."""

    @property
    def time_spent(self) -> TimeSpent | None:
        """Return where the seconds of all attempts went; None where nobody told."""
        if not self.elapsed:
            return None
        part = {name: sum(group.seconds.get(name, 0.0) for group in self.groups) for name in _PARTS}
        start_up, elapsed = sum(self.start_up.values()), sum(self.elapsed.values())
        return TimeSpent(
            start_up=start_up,
            data=part["data"],
            compute=part["compute"],
            exchange=part["reduce"],
            evaluation=part["evaluation"],
            checkpoint=part["checkpoint"],
            other=max(0.0, elapsed - start_up - sum(part.values())),
        )

    @property
    def steps_per_second(self) -> float:
        """Return the pace of the training alone, over all worker groups that were measured; 0 without one."""
        measured = [group for group in self.groups if group.seconds]
        seconds = sum(group.seconds.get(name, 0.0) for group in measured for name in _TRAINED_BY)
        return sum(group.steps for group in measured) / seconds if seconds else 0.0


def read_timeline(folder: RunFolder) -> RunTimeline:
    """Return what the events of a run tell."""
    return timeline_of(read_events(folder))


def timeline_of(events: Iterable[Event]) -> RunTimeline:
    """Return what events tell, in the order in which they were noted."""
    groups: dict[tuple[Any, ...], WorkerGroup] = {}
    elapsed: dict[int, float] = {}
    start_up: dict[int, float] = {}
    ended: dict[int, str] = {}
    for event in events:
        attempt = event["attempt"]
        if "step" in event:
            key = (attempt, event["workers"], event["resumedFrom"], event.get("group"))
            groups.setdefault(key, WorkerGroup(attempt=attempt)).events.append(event)
        if "elapsed" in event:
            elapsed[attempt], start_up[attempt] = event["elapsed"], event["startUp"]
        if event["kind"] == "Ended":
            ended[attempt] = event["outcome"]
    return RunTimeline(groups=list(groups.values()), elapsed=elapsed, start_up=start_up, ended=ended)


def attempt_rows(folder: RunFolder, story: RunTimeline) -> list[AttemptRow]:
    """Return a row per worker group that left events, and one per attempt that left its claim alone."""
    highest = highest_attempt(folder)
    rows = [_row(group) for group in story.groups]
    told = {row.number for row in rows}
    for number in (n for n in range(1, highest + 1) if n not in told):
        workers, outcome = read_claim(folder, number).workers, story.ended.get(number, "")
        rows.append(
            AttemptRow(number=number, workers=workers, outcome=outcome, seconds=story.elapsed.get(number))
        )
    rows.sort(key=lambda row: row.number)  # those of one attempt are in the order of its events
    return [
        _with_end(row, following, speaks=row.from_step is None or row.number in story.elapsed)
        for row, following in zip_longest(rows, rows[1:])
    ]


def _row(group: WorkerGroup) -> AttemptRow:
    began, newest = group.events[0], max(event["step"] for event in group.events)
    return AttemptRow(
        number=group.attempt,
        workers=began["workers"],
        from_step=began["resumedFrom"],
        to_step=newest,
        seconds=group.duration,
        outcome=group.outcome,
    )


def _with_end(row: AttemptRow, following: AttemptRow | None, *, speaks: bool) -> AttemptRow:
    """Return a row that says how it ended: who speaks of ends, is silent and was followed was killed."""
    if row.outcome or not speaks or following is None or following.number == row.number:
        return row
    return replace(row, outcome=_SILENT)
