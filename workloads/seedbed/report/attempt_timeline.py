"""Attempts of a run from its event log: workers, steps, outcome and time by activity.

Events of older runs have fewer fields; missing values stay empty or count as other time.
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

_KILLED = "Killed or lost"
_TRAINED_BY = ("data", "compute", "reduce")
"""Activities that count as training."""
_PARTS = (*_TRAINED_BY, "evaluation", "checkpoint")

Event = Mapping[str, Any]


@dataclass(kw_only=True, slots=True)
class WorkerGroup:
    """The events of one worker group, oldest first."""

    attempt: int
    events: list[Event] = field(default_factory=list)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Return the seconds by activity from the last event; empty if they were not measured."""
        seconds: Mapping[str, float] = self.events[-1].get("seconds", {})
        return seconds

    @property
    def duration(self) -> float:
        """Return the seconds that the group trained."""
        measured = sum(self.seconds.values())
        return measured or float(self.events[-1]["time"] - self.events[0]["time"])

    @property
    def steps(self) -> int:
        """Return the number of steps that the group computed."""
        return max(int(event["step"]) for event in self.events) - int(self.events[0]["resumedFrom"])

    @property
    def outcome(self) -> str:
        """Return the outcome in the last event; '' if it has none."""
        return str(self.events[-1].get("outcome", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTimeline:
    """The attempts of a run: worker groups, durations and outcomes."""

    groups: Sequence[WorkerGroup]
    elapsed: Mapping[int, float]
    """Seconds of each attempt that reported them."""
    start_up: Mapping[int, float]
    """Seconds before training of each attempt that reported them."""
    ended: Mapping[int, str]
    """Outcome of each attempt that recorded its end."""

    @property
    def time_spent(self) -> TimeSpent | None:
        """Return the seconds of all attempts by activity; None if no attempt reported them."""
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
        """Return the training speed without start-up and evaluation; 0 if no worker group was measured."""
        measured = [group for group in self.groups if group.seconds]
        seconds = sum(group.seconds.get(name, 0.0) for group in measured for name in _TRAINED_BY)
        return sum(group.steps for group in measured) / seconds if seconds else 0.0


def read_timeline(folder: RunFolder) -> RunTimeline:
    """Return the timeline of a run from its stored events."""
    return timeline_of(read_events(folder))


def timeline_of(events: Iterable[Event]) -> RunTimeline:
    """Return the timeline of events, which are in the order of their recording."""
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


def attempt_rows(folder: RunFolder, timeline: RunTimeline) -> list[AttemptRow]:
    """Return a row for each worker group with events and for each attempt that has only a claim."""
    highest = highest_attempt(folder)
    rows = [_row(group) for group in timeline.groups]
    with_events = {row.number for row in rows}
    for number in (n for n in range(1, highest + 1) if n not in with_events):
        workers, outcome = read_claim(folder, number).workers, timeline.ended.get(number, "")
        rows.append(
            AttemptRow(number=number, workers=workers, outcome=outcome, seconds=timeline.elapsed.get(number))
        )
    rows.sort(key=lambda row: row.number)  # those of one attempt are in the order of its events
    return [
        _with_end(row, following, records_end=row.from_step is None or row.number in timeline.elapsed)
        for row, following in zip_longest(rows, rows[1:])
    ]


def _row(group: WorkerGroup) -> AttemptRow:
    first, newest = group.events[0], max(event["step"] for event in group.events)
    return AttemptRow(
        number=group.attempt,
        workers=first["workers"],
        from_step=first["resumedFrom"],
        to_step=newest,
        seconds=group.duration,
        outcome=group.outcome,
    )


def _with_end(row: AttemptRow, following: AttemptRow | None, *, records_end: bool) -> AttemptRow:
    """Return a row with its outcome: killed if another attempt followed and no end was recorded."""
    if row.outcome or not records_end or following is None or following.number == row.number:
        return row
    return replace(row, outcome=_KILLED)
