"""The operator: whether it sees the cluster, keeps up, and what it asks of the API server."""

from __future__ import annotations

from alerts import BLIND_SECONDS, QUEUE_SECONDS
from dashboards.building import COUNT, Look, Page, Row, lines, number, rows_of, stacked
from dashboards.selecting import BAD, GOOD, quantile, rate
from seedbed_api import metric_names as names

_WINDOW = "$__rate_interval"
PAGE = Page(
    uid="seedbed-operator",
    title="Seedbed / Operator",
    description="The operator: leader, queue, passes, requests to the API server, age of what it knows.",
    variables=(),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Leaders",
                    "Operators that hold the lease; anything but 1 is wrong.",
                    COUNT,
                    f"sum({names.LEADER.name})",
                    span=3,
                    limits=((0, BAD), (1, GOOD), (2, BAD)),
                ),
                number(
                    "Queue",
                    "Jobs that are ready for a pass and wait.",
                    COUNT,
                    f"sum({names.QUEUE_LENGTH.name})",
                    span=3,
                ),
                number(
                    "Oldest",
                    "How long the oldest in the queue has waited; five minutes are too long.",
                    "s",
                    f"max({names.QUEUE_AGE.name})",
                    span=3,
                    limits=((QUEUE_SECONDS, BAD),),
                ),
                number(
                    "Last list",
                    "Age of the last list of everything: the liveness.",
                    "s",
                    f"min({names.RELIST_AGE.name})",
                    span=3,
                    limits=((BLIND_SECONDS, BAD),),
                ),
                number(
                    "Last event",
                    "Time since the watches brought an event.",
                    "s",
                    f"min({names.WATCH_AGE.name})",
                    span=3,
                ),
                rows_of(
                    "Versions",
                    "Version of each operator and of its Python.",
                    "short",
                    f"max by (pod, version, python) ({names.BUILD.name})",
                    Look(columns=("pod", "version", "python"), widths={"version": 90, "python": 90}),
                    span=9,
                    height=4,
                ),
            ),
        ),
        Row(
            title="Passes",
            panels=(
                lines(
                    "Passes per second",
                    "Passes over jobs, by result; failures back off and are tried again.",
                    "ops",
                    (rate(names.RECONCILES.name, "", by="result"), "{{result}}"),
                    look=Look(colours={"success": GOOD, "failure": BAD}),
                ),
                lines(
                    "Duration of a pass",
                    "Half of the passes, and 99 in 100.",
                    "s",
                    (quantile(0.5, names.RECONCILE_SECONDS.name, window=_WINDOW), "half"),
                    (quantile(0.99, names.RECONCILE_SECONDS.name, window=_WINDOW), "99 %"),
                ),
                lines(
                    "Queue",
                    "Jobs that wait for a pass, and how long the oldest has waited.",
                    COUNT,
                    (f"sum({names.QUEUE_LENGTH.name})", "jobs"),
                    (f"max({names.QUEUE_AGE.name})", "oldest", "s"),
                ),
            ),
        ),
        Row(
            title="API server",
            panels=(
                stacked(
                    "Requests per second",
                    "By verb and resource.",
                    "reqps",
                    (rate(names.REQUESTS.name, "", by="verb, resource"), "{{verb}} {{resource}}"),
                    span=12,
                    look=Look(aside=True),
                ),
                stacked(
                    "Answers per second",
                    "By code; `none` is a request without an answer.",
                    "reqps",
                    (rate(names.REQUESTS.name, "", by="code"), "{{code}}"),
                    span=12,
                    look=Look(colours=dict.fromkeys(("none", "429", "500", "503"), BAD)),
                ),
            ),
        ),
        Row(
            title="What it knows",
            panels=(
                lines(
                    "Objects",
                    "Objects that it keeps, by kind.",
                    COUNT,
                    (f"max by (resource) ({names.OBJECTS.name})", "{{resource}}"),
                    span=6,
                ),
                lines(
                    "Lists and corrections",
                    "Lists of everything per minute, and deletions that only a list has told.",
                    "opm",
                    (f"60 * {rate(names.RELISTS.name, '')}", "lists"),
                    (f"60 * {rate(names.CORRECTIONS.name, '')}", "corrections"),
                    span=6,
                ),
                lines(
                    "Age of what it knows",
                    "Last list and last event.",
                    "s",
                    (f"min({names.RELIST_AGE.name})", "list"),
                    (f"min({names.WATCH_AGE.name})", "event"),
                    span=6,
                ),
                lines(
                    "Clocks",
                    "How far the operator is from the API server, and the farthest driver from the operator.",
                    "s",
                    (f"max(abs({names.CLOCK_SKEW.name}))", "operator"),
                    (f"max(abs({names.JOB_CLOCK_SKEW.name}))", "driver"),
                    span=6,
                ),
            ),
        ),
    ),
)
