"""Rows of `seedbed top`, and their values from TrainingJobs and SweepJobs of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seedbed.driver.progress_display import duration
from seedbed_api.metric_values import main_metric


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The row of one job, sweep or run."""

    kind: str
    name: str
    """Name, with the namespace on a cluster."""
    status: str
    """Reason of the condition Running."""
    progress: str = ""
    rate: str = ""
    left: str = ""
    workers: str = ""
    result: str = ""
    """Accuracy, or the best objective of a sweep."""
    message: str = ""
    over: bool = False


def row_of_object(raw: Mapping[str, Any], *, now: datetime) -> Row:
    """Return the row of a TrainingJob or SweepJob; values that its status lacks are empty."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    running = _condition(status, "Running")
    over = any(_condition(status, kind).get("status") == "True" for kind in ("Complete", "Failed"))
    is_running = running.get("status") == "True"
    workers = status.get("workers") or {}
    return Row(
        kind=raw["kind"],
        name=f"{metadata['namespace']}/{metadata['name']}",
        status=str(running.get("reason", "Pending")),
        progress=_progress(status),
        rate=_rate(status, now) if is_running else "",
        left=_left(status, now) if is_running else "",
        workers=f"{workers['ready']}/{workers['desired']}" if workers and not over else "",
        result=_result(status),
        message=str(running.get("message", "")),
        over=over,
    )


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return the active rows first, then the ended ones, each by name."""
    return sorted(rows, key=lambda row: (row.over, row.name, row.kind))


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any]
    for found in status.get("conditions") or ():
        if found.get("type") == kind:
            return found
    return {}


def _progress(status: Mapping[str, Any]) -> str:
    progress, trials = status.get("progress"), status.get("trials")
    if progress:
        return f"{progress['step']}/{progress['totalSteps']} ({progress['percent']} %)"
    return f"{trials.get('finished') or trials.get('total', 0)} trials" if trials else ""


def _rate(status: Mapping[str, Any], now: datetime) -> str:
    images = _metrics(status).get("throughput/images-per-second")
    if images:
        return f"{float(images):,.0f} images/s"
    trials = _trials_per_second(status, now)
    return f"{3600 * trials:.3g} trials/h" if trials else ""


def _left(status: Mapping[str, Any], now: datetime) -> str:
    estimate = (status.get("progress") or {}).get("estimatedCompletionTime")
    if estimate:
        return duration(max(0.0, _seconds_between(now, estimate)))
    rate, (done, most) = _trials_per_second(status, now), _finished(status)
    return duration((most - done) / rate) if rate else ""


def _trials_per_second(status: Mapping[str, Any], now: datetime) -> float | None:
    """Return how many trials a sweep is_running per second; None until as many have ended as run in parallel.

    Reused trials do not count, because they take no time. In later attempts the counts include trials of
    earlier ones, so there is no rate.
    """
    trials, since = status.get("trials") or {}, _condition(status, "Running").get("lastTransitionTime")
    trained = _finished(status)[0] - trials.get("reused", 0)
    if since is None or status.get("attempts", 1) > 1 or trained < max(1, trials.get("running", 0)):
        return None
    seconds = -_seconds_between(now, since)
    return trained / seconds if seconds > 0 else None


def _finished(status: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of finished trials and the greatest number of trials."""
    done, _, most = str((status.get("trials") or {}).get("finished", "")).partition("/")
    return (int(done), int(most)) if done.isdecimal() and most.isdecimal() else (0, 0)


def _seconds_between(now: datetime, time: str) -> float:
    return (datetime.fromisoformat(time) - now).total_seconds()


def _result(status: Mapping[str, Any]) -> str:
    best = status.get("bestTrial")
    if best:
        return str(best.get("objective", ""))
    return main_metric(_metrics(status))[1]


def _metrics(status: Mapping[str, Any]) -> dict[str, str]:
    return {metric["name"]: metric["value"] for metric in status.get("metrics") or ()}
