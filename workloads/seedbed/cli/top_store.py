"""From the runs and sweeps of an output store to rows of `seedbed top`: what the store knows, no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from seedbed.cli.top_rows import Row
from seedbed.cli.top_snapshot import RunSnapshot, StoreSnapshot, SweepSnapshot
from seedbed.driver.progress_display import duration
from seedbed.runs.attempt_event_log import FAILED, PAUSED, STOPPED
from seedbed.search.objective_values import Goal, format_objective
from seedbed.search.trial_ranking import rank_trials

_DIGITS = 12

Event = Mapping[str, Any]


def rows_of(looker: StoreSnapshot) -> list[Row]:
    """Return the rows of a store: sweeps, and runs."""
    runs, sweeps = looker.runs(), looker.sweeps()
    of_sweep = {run: sweep.folder.name for sweep in sweeps for run in sweep.folder.started_runs}
    by_name = {run.folder.name: run for run in runs}
    return [
        *(row_of_run(run, sweep=of_sweep.get(name)) for name, run in by_name.items()),
        *(
            row_of_sweep(sweep, [by_name[run] for run in sweep.folder.started_runs if run in by_name])
            for sweep in sweeps
        ),
    ]


def row_of_run(run: RunSnapshot, *, sweep: str | None) -> Row:
    """Return the row of a run; `sweep` is the one that has begun it, by hex digits."""
    status, reason = _state_of(run)
    told = [event for event in run.events if event["kind"] == "Progress"]
    total = next((event["totalSteps"] for event in reversed(told) if "totalSteps" in event), None)
    rate = _pace(told) if status == "training" else None
    subject = f"sweep {sweep[:_DIGITS]}" if sweep else run.model
    return Row(
        kind="run",
        name=run.folder.name[:_DIGITS],
        status=status,
        progress=_progress(run, total),
        rate=f"{rate:.3g} steps/s" if rate else "",
        left=duration((total - run.step) / rate) if rate and total else "",
        workers=str(told[-1]["workers"]) if told and run.may_change else "",
        result="" if run.result is None else run.result.metrics.get("validation/accuracy", ""),
        message=": ".join(part for part in (subject, reason) if part),
        over=status in {"complete", "failed"},
    )


def row_of_sweep(sweep: SweepSnapshot, runs: Sequence[RunSnapshot]) -> Row:
    """Return the row of a sweep with the runs that it has started."""
    row = Row(kind="sweep", name=sweep.folder.name[:_DIGITS], status="damaged", message=sweep.damage)
    if sweep.damage:
        return row
    if sweep.record is None:
        return _row_under_way(row, runs)
    ended, trials = sweep.record.ended, sweep.record.trials
    goal = Goal(maximize=sweep.record.sweep["objective"]["direction"] == "Maximize")
    best = next((trial.objective for trial in rank_trials(trials, goal)), None)
    return replace(
        row,
        status="complete" if ended.complete else "failed",
        progress=f"{len(trials)}/{sweep.record.sweep['maxTrialCount']} trials",
        result="" if best is None else format_objective(best),
        message=str(ended.reason),
        over=True,
    )


def _row_under_way(row: Row, runs: Sequence[RunSnapshot]) -> Row:
    """Return the row of a sweep without a record: it is training if one of its runs is."""
    counts = Counter(_state_of(run)[0] for run in runs)
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    if any(run.may_change for run in runs):
        return replace(row, status="training", progress=f"{len(runs)} runs", message=told)
    reason = "no run of it is trained now; the same command goes on"
    message = f"{told}; {reason}" if told else reason
    return replace(row, status="idle", progress=f"{len(runs)} runs", message=message)


def _state_of(run: RunSnapshot) -> tuple[str, str]:
    """Return the state of a run, and a sentence about it."""
    if run.status == "complete":
        return "complete", ""
    if run.status == "damaged":
        return "damaged", run.damage
    if run.attempt is None:
        return "stopped", "nobody has claimed it"
    who = f"attempt {run.attempt.number} on {run.attempt.process.host}"
    if run.status == "training":
        return "training", who
    if run.heartbeat is not None:
        silence = duration(run.heartbeat.last_read - run.heartbeat.since)
        return "silent", f"no sign of life of {who} for {silence}; the same command takes over"
    return _rest(run.events, run.attempt.number, who)


def _rest(events: Sequence[Event], attempt: int, who: str) -> tuple[str, str]:
    """Return how a run stopped, by the last event of its newest attempt."""
    last = events[-1] if events and events[-1]["attempt"] == attempt else {}
    when = f" at {datetime.fromtimestamp(last['time'], UTC):%Y-%m-%d %H:%M} UTC" if last else ""
    outcome = str(last.get("outcome", "")) if last.get("kind") == "Ended" else ""
    if outcome.startswith(FAILED):
        return "failed", f"{outcome.removeprefix(FAILED)}, {who}{when}"
    if outcome == PAUSED:
        return "paused", "its sweep decides whether it goes on"
    if outcome == STOPPED:
        return "stopped", f"{who} was told to stop{when}; the same command goes on"
    told = f", last heard of{when}," if when else ""
    return "stopped", f"{who}{told} is gone; the same command goes on"


def _progress(run: RunSnapshot, total: int | None) -> str:
    if run.result is not None:
        total = run.result.outcome.total_steps
    return f"{run.step}/{total}" if total else str(run.step)


def _pace(events: Sequence[Event]) -> float | None:
    """Return steps per second between the last two events of the newest attempt."""
    last = [event for event in events if event["attempt"] == events[-1]["attempt"]][-2:] if events else []
    if len(last) < 2 or last[1]["time"] <= last[0]["time"] or last[1]["step"] <= last[0]["step"]:
        return None
    return float((last[1]["step"] - last[0]["step"]) / (last[1]["time"] - last[0]["time"]))
