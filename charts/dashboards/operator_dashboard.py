"""Dashboard of the operator: leader, work queue, reconciles, requests, informer cache."""

from __future__ import annotations

from alerts import BLIND_SECONDS, QUEUE_SECONDS
from dashboards.panel_builders import (
    COUNT,
    Dashboard,
    PanelStyle,
    Row,
    line_panel,
    rows_of,
    stacked_panel,
    stat_panel,
)
from dashboards.promql import BAD, GOOD, quantile, rate
from seedbed_api import metric_names as names

_WINDOW = "$__rate_interval"
DASHBOARD = Dashboard(
    uid="seedbed-operator",
    title="Seedbed / Operator",
    description="The operator: leader, work queue, reconciles, requests to the API server, age of its cache.",
    variables=(),
    rows=(
        Row(
            title="Now",
            panels=(
                stat_panel(
                    "Leaders",
                    "Operators that hold the Lease; any number but 1 is wrong.",
                    COUNT,
                    f"sum({names.LEADER.name})",
                    span=3,
                    limits=((0, BAD), (1, GOOD), (2, BAD)),
                ),
                stat_panel(
                    "Queue",
                    "Jobs that are ready for a reconcile and wait.",
                    COUNT,
                    f"sum({names.QUEUE_LENGTH.name})",
                    span=3,
                ),
                stat_panel(
                    "Oldest",
                    "How long the oldest job in the queue has waited; five minutes is too long.",
                    "s",
                    f"max({names.QUEUE_AGE.name})",
                    span=3,
                    limits=((QUEUE_SECONDS, BAD),),
                ),
                stat_panel(
                    "Last relist",
                    "Age of the last relist; the liveness probe uses it.",
                    "s",
                    f"min({names.RELIST_AGE.name})",
                    span=3,
                    limits=((BLIND_SECONDS, BAD),),
                ),
                stat_panel(
                    "Last event",
                    "Time since the last event of a watch.",
                    "s",
                    f"min({names.WATCH_AGE.name})",
                    span=3,
                ),
                rows_of(
                    "Versions",
                    "Version of each operator and of its Python.",
                    "short",
                    f"max by (pod, version, python) ({names.BUILD.name})",
                    PanelStyle(columns=("pod", "version", "python"), widths={"version": 90, "python": 90}),
                    span=9,
                    height=4,
                ),
            ),
        ),
        Row(
            title="Reconciles",
            panels=(
                line_panel(
                    "Reconciles per second",
                    "Reconciles of jobs by result; failures are retried with back-off.",
                    "ops",
                    (rate(names.RECONCILES.name, "", by="result"), "{{result}}"),
                    style=PanelStyle(colours={"success": GOOD, "failure": BAD}),
                ),
                line_panel(
                    "Duration of a reconcile",
                    "Median and 99th percentile.",
                    "s",
                    (quantile(0.5, names.RECONCILE_SECONDS.name, window=_WINDOW), "half"),
                    (quantile(0.99, names.RECONCILE_SECONDS.name, window=_WINDOW), "99 %"),
                ),
                line_panel(
                    "Queue",
                    "Jobs that wait for a reconcile, and how long the oldest has waited.",
                    COUNT,
                    (f"sum({names.QUEUE_LENGTH.name})", "jobs"),
                    (f"max({names.QUEUE_AGE.name})", "oldest", "s"),
                ),
            ),
        ),
        Row(
            title="API server",
            panels=(
                stacked_panel(
                    "Requests per second",
                    "By verb and resource.",
                    "reqps",
                    (rate(names.REQUESTS.name, "", by="verb, resource"), "{{verb}} {{resource}}"),
                    span=12,
                    style=PanelStyle(aside=True),
                ),
                stacked_panel(
                    "Answers per second",
                    "By code; `none` is a request without an answer.",
                    "reqps",
                    (rate(names.REQUESTS.name, "", by="code"), "{{code}}"),
                    span=12,
                    style=PanelStyle(colours=dict.fromkeys(("none", "429", "500", "503"), BAD)),
                ),
            ),
        ),
        Row(
            title="Informer cache",
            panels=(
                line_panel(
                    "Objects",
                    "Objects in the cache, by kind.",
                    COUNT,
                    (f"max by (resource) ({names.OBJECTS.name})", "{{resource}}"),
                    span=6,
                ),
                line_panel(
                    "Relists and corrections",
                    "Relists per minute, and deletions that only a relist found.",
                    "opm",
                    (f"60 * {rate(names.RELISTS.name, '')}", "relists"),
                    (f"60 * {rate(names.CORRECTIONS.name, '')}", "corrections"),
                    span=6,
                ),
                line_panel(
                    "Age of the cache",
                    "Last relist and last event.",
                    "s",
                    (f"min({names.RELIST_AGE.name})", "relist"),
                    (f"min({names.WATCH_AGE.name})", "event"),
                    span=6,
                ),
                line_panel(
                    "Clocks",
                    "Skew between operator and API server, and largest skew of a driver.",
                    "s",
                    (f"max(abs({names.CLOCK_SKEW.name}))", "operator"),
                    (f"max(abs({names.JOB_CLOCK_SKEW.name}))", "driver"),
                    span=6,
                ),
            ),
        ),
    ),
)
