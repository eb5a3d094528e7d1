"""Rows of `seedbed top` from the runs and sweeps of an output store."""

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
from seedbed_api.metric_values import main_metric

_DIGITS = 12

Event = Mapping[str, Any]


def rows_of(snapshot: StoreSnapshot) -> list[Row]:
    """Return the rows of the runs and sweeps of a store."""
    runs, sweeps = snapshot.runs(), snapshot.sweeps()
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
    """Return the row of a run; `sweep` is the identity of the sweep that started it."""
    status, reason = _state_of(run)
    progress = [event for event in run.events if event["kind"] == "Progress"]
    total = next((event["totalSteps"] for event in reversed(progress) if "totalSteps" in event), None)
    rate = _steps_per_second(progress) if status == "training" else None
    subject = f"sweep {sweep[:_DIGITS]}" if sweep else run.model
    return Row(
        kind="run",
        name=run.folder.name[:_DIGITS],
        status=status,
        progress=_progress(run, total),
        rate=f"{rate:.3g} steps/s" if rate else "",
        left=duration((total - run.step) / rate) if rate and total else "",
        workers=str(progress[-1]["workers"]) if progress and run.may_change else "",
        result="" if run.result is None else main_metric(run.result.metrics)[1],
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
    """Return the row of a sweep without a record; it is training if one of its runs is."""
    counts = Counter(_state_of(run)[0] for run in runs)
    summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    if any(run.may_change for run in runs):
        return replace(row, status="training", progress=f"{len(runs)} runs", message=summary)
    reason = "none of its runs is being trained; the same command continues"
    message = f"{summary}; {reason}" if summary else reason
    return replace(row, status="idle", progress=f"{len(runs)} runs", message=message)


def _state_of(run: RunSnapshot) -> tuple[str, str]:
    """Return the status of a run and a message about it."""
    if run.status == "complete":
        return "complete", ""
    if run.status == "damaged":
        return "damaged", run.damage
    if run.attempt is None:
        return "stopped", "no attempt has claimed it"
    holder = f"attempt {run.attempt.number} on {run.attempt.process.host}"
    if run.status == "training":
        return "training", holder
    if run.heartbeat is not None:
        age = duration(run.heartbeat.last_read - run.heartbeat.since)
        return "stale", f"no heartbeat from {holder} for {age}; the same command takes over"
    return _status_without_attempt(run.events, run.attempt.number, holder)


def _status_without_attempt(events: Sequence[Event], attempt: int, holder: str) -> tuple[str, str]:
    """Return status and message of a run without an active attempt, from the last event of its newest one."""
    last = events[-1] if events and events[-1]["attempt"] == attempt else {}
    when = f" at {datetime.fromtimestamp(last['time'], UTC):%Y-%m-%d %H:%M} UTC" if last else ""
    outcome = str(last.get("outcome", "")) if last.get("kind") == "Ended" else ""
    if outcome.startswith(FAILED):
        return "failed", f"{outcome.removeprefix(FAILED)}, {holder}{when}"
    if outcome == PAUSED:
        return "paused", "its sweep decides whether it continues"
    if outcome == STOPPED:
        return "stopped", f"{holder} was stopped{when}; the same command continues"
    last_event = f", its last event was{when}" if when else ""
    return "stopped", f"{holder} is gone{last_event}; the same command continues"


def _progress(run: RunSnapshot, total: int | None) -> str:
    if run.result is not None:
        total = run.result.outcome.total_steps
    return f"{run.step}/{total}" if total else str(run.step)


def _steps_per_second(events: Sequence[Event]) -> float | None:
    """Return steps per second between the last two events of the newest attempt."""
    last = [event for event in events if event["attempt"] == events[-1]["attempt"]][-2:] if events else []
    if len(last) < 2 or last[1]["time"] <= last[0]["time"] or last[1]["step"] <= last[0]["step"]:
        return None
    return float((last[1]["step"] - last[0]["step"]) / (last[1]["time"] - last[0]["time"]))
