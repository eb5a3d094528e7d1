"""The alerts, written into the chart by `make generate`: what is wrong, for how long, which page to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from seedbed_api import metric_names as names
from seedbed_api.conditions import AttemptReason, FailedReason
from seedbed_api.metric_names import Family

FILE = Path(__file__).parent / "seedbed/files/alerts.yaml"
RUNBOOKS = "docs/runbooks/"
"""Folder of the runbooks in the repository; with a URL in the chart's values it becomes `runbook_url`."""
QUEUE_SECONDS = 300
CHECKPOINT_SECONDS = 3600
STARVING = 0.3
"""Share of rank 0's time that waits for data. Dashboards have these limits too."""
BLIND_SECONDS = 240
"""Nearly two relist intervals; with `for` shorter than the liveness limit, since a restart resets the age."""
HANGING = 0.5
"""Share of the progress deadline; the alert fires before the attempt is ended as hung."""
_CLUSTER = "cluster"
"""Label of the cluster, where one Prometheus reads several."""
_EACH = ", ".join((_CLUSTER, *names.JOB))
_RUNS = f'on ({_EACH}) {names.JOB_INFO.name}{{condition="Running"}}'
_OVER = f'on ({_EACH}) {names.JOB_INFO.name}{{condition=~"Complete|Failed"}}'
_HUNG = f'reason="{AttemptReason.PROGRESS_DEADLINE_EXCEEDED}"'


def _max(family: Family, matching: str = "") -> str:
    """Return a value per job, from any pod of the operator."""
    return f"max by ({_EACH}) ({family.name}{f'{{{matching}}}' if matching else ''})"


def _of_operators(summary: str, vector: str) -> str:
    """Return a value per cluster, over the operator's pods."""
    return f"{summary} by ({_CLUSTER}) ({vector})"


def _reconciles(result: str) -> str:
    return _of_operators("sum", f'rate({names.RECONCILES.name}{{result="{result}"}}[10m])')


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One rule."""

    name: str
    runbook: str
    expr: str
    wait: str
    """Duration before it fires."""
    severity: Literal["warning", "critical"]
    summary: str
    description: str


ALERTS = (
    Alert(
        name="SeedbedOperatorNotReconciling",
        runbook="operator-not-reconciling",
        expr=(
            f"{_of_operators('sum', names.LEADER.name)} < 1"
            f" or ({_of_operators('sum', f'count_over_time({names.LEADER.name}[1d])')} > 0"
            f" unless {_of_operators('sum', names.LEADER.name)})"
            f" or absent(count_over_time({names.LEADER.name}[1d]))"
            f" or {_of_operators('min', names.RELIST_AGE.name)} > {BLIND_SECONDS}"
            f" or {_of_operators('max', names.QUEUE_AGE.name)} > {QUEUE_SECONDS}"
            f" or ({_reconciles('failure')} > {_reconciles('success')})"
        ),
        wait="2m",
        severity="critical",
        summary="The operator does not reconcile jobs.",
        description="No operator leads or can list the cluster, jobs wait, or most reconciles fail.",
    ),
    Alert(
        name="SeedbedJobStalled",
        runbook="job-stalled",
        expr=(
            f"({_max(names.JOB_STALLED)} == 1 unless {_OVER})"
            f" or (time() - {_max(names.JOB_ADVANCE)} > {HANGING} * {_max(names.JOB_PROGRESS_DEADLINE)})"
            f" or (time() - {_max(names.JOB_FAILURE, _HUNG)} < 3600 unless {_OVER})"
        ),
        wait="3m",
        severity="warning",
        summary="{{ $labels.kind }} {{ $labels.namespace }}/{{ $labels.name }} makes no progress.",
        description="The job waits for a person, makes no step, or an attempt hung in the last hour.",
    ),
    Alert(
        name="SeedbedDataStarvation",
        runbook="data-starvation",
        expr=(
            f'sum by ({_EACH}) (rate({names.SECONDS.name}{{part="data"}}[10m]))'
            f" / sum by ({_EACH}) (rate({names.SECONDS.name}[10m])) > {STARVING}"
        ),
        wait="15m",
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.name }} waits for data for more than 30 % of its time.",
        description="The feed is too slow: {{ $value | humanizePercentage }} of the time is waiting.",
    ),
    Alert(
        name="SeedbedDivergence",
        runbook="divergence",
        expr=(
            f'{names.JOB_INFO.name}{{condition="Failed", reason="{FailedReason.NON_FINITE_LOSS}"}}'
            f" and on ({_EACH}) (time() - {names.JOB_END.name} < 3600)"
        ),
        wait="0m",
        severity="warning",
        summary="The loss of {{ $labels.namespace }}/{{ $labels.name }} is NaN or infinite.",
        description="The training has diverged; the job has failed and is not retried.",
    ),
    Alert(
        name="SeedbedCacheThrash",
        runbook="cache-thrash",
        expr=(
            f'sum by ({_EACH}) (rate({names.CACHE_REQUESTS.name}{{result="miss"}}[15m]))'
            f" / sum by ({_EACH}) (rate({names.CACHE_REQUESTS.name}[15m])) > 0.25"
        ),
        wait="15m",
        severity="warning",
        summary="The dataset cache of {{ $labels.namespace }}/{{ $labels.name }} misses too often.",
        description="{{ $value | humanizePercentage }} of the reads miss the cache; the limit is 25 %.",
    ),
    Alert(
        name="SeedbedPreemptionStorm",
        runbook="preemption-storm",
        expr=(
            f"sum by ({_CLUSTER}, namespace)"
            f' (increase({names.ATTEMPTS_ENDED.name}{{cause="Preemption"}}[1h])) > 5'
        ),
        wait="0m",
        severity="warning",
        summary="Jobs of {{ $labels.namespace }} are preempted repeatedly.",
        description="{{ $value | humanize }} attempts were preempted within an hour.",
    ),
    Alert(
        name="SeedbedCheckpointAge",
        runbook="checkpoint-age",
        expr=f"(time() - {names.JOB_CHECKPOINT.name} > {CHECKPOINT_SECONDS}) and {_RUNS}",
        wait="5m",
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.name }} has written no checkpoint for more than an hour.",
        description="A failure would cost {{ $value | humanizeDuration }} of training.",
    ),
)


def groups() -> dict[str, Any]:
    """Return the rules as Prometheus reads them."""
    return {"groups": [{"name": "seedbed", "rules": [_rule(alert) for alert in ALERTS]}]}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.wait,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook": f"{RUNBOOKS}{alert.runbook}.md",
        },
    }


def rendered() -> str:
    """Return the file of the chart."""
    head = "# Written by `make generate` from charts/alerts.py.\n"
    return head + yaml.safe_dump(groups(), sort_keys=False, width=110, allow_unicode=True)
