"""The variables of the dashboards and how queries use them."""

from __future__ import annotations

from seedbed_api import metric_names as names

NAMESPACE = {
    "name": "namespace",
    "label": "Namespace",
    "query": f"label_values({names.JOBS.name}, namespace)",
}
JOB = {
    "name": "job",
    "label": "Job",
    "query": f'label_values({names.JOB_INFO.name}{{namespace=~"$namespace", kind="TrainingJob"}}, name)',
}
ONE_JOB = {**JOB, "all_of_them": False}
ONE_SWEEP = {
    "name": "sweep",
    "label": "Sweep",
    "query": f'label_values({names.TRIALS_PLANNED.name}{{namespace=~"$namespace"}}, name)',
    "all_of_them": False,
}
"""Not `job`: what is chosen goes with the links to the other dashboards, where it is no job."""
NAMESPACE_FILTER = 'namespace=~"$namespace"'
"""Matches the jobs of the chosen namespaces."""
JOB_FILTER = f'{NAMESPACE_FILTER}, name=~"$job"'
"""Matches the chosen jobs."""
SWEEP_FILTER = f'{NAMESPACE_FILTER}, name=~"$sweep"'
"""Matches the chosen sweeps."""
JOB_LEGEND = "{{namespace}}/{{name}}"
"""Legend of a line per job."""
JOB_LABELS = "namespace, name"
GOOD, BAD, STOPPED, BUSY, WAITING = "green", "red", "#808080", "blue", "orange"
STATES = {"Complete": GOOD, "Failed": BAD, "Suspended": STOPPED, "Running": BUSY, "Waiting": WAITING}
TRIALS = {"Succeeded": GOOD, "Failed": BAD, "Pruned": STOPPED, "Running": BUSY, "Waiting": WAITING}


def rate(name: str, matching: str, *, by: str = "") -> str:
    """Return how fast a counter grows per second, summed."""
    summed = f"sum by ({by}) " if by else "sum"
    return f"{summed}(rate({name}{{{matching}}}[$__rate_interval]))"


def increase_by(name: str, matching: str, *, by: str) -> str:
    """Return by how much a counter has increase_by over the time that is shown."""
    return f"sum by ({by}) (increase({name}{{{matching}}}[$__range]))"


def quantile(share: float, name: str, *, by: str = "", matching: str = "", window: str = "$__range") -> str:
    """Return a quantile of a histogram."""
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({groups}) (rate({name}_bucket{{{matching}}}[{window}])))"


def share(name: str, matching: str, part: str, *, by: str) -> str:
    """Return how much of a counter's growth is that of a part."""
    return f"{rate(name, f'{matching}, {part}', by=by)} / {rate(name, matching, by=by)}"
