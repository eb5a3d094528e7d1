"""Dashboard of data loading: waiting for data, cache, fetched bytes."""

from __future__ import annotations

from alerts import STARVING
from dashboards.panel_builders import Dashboard, PanelStyle, Row, line_panel, stacked_panel, stat_panel
from dashboards.promql import (
    BAD,
    GOOD,
    JOB,
    JOB_FILTER,
    JOB_LABELS,
    JOB_LEGEND,
    NAMESPACE,
    WAITING,
    rate,
    share,
)
from seedbed_api import metric_names as names

_HITS = rate(names.CACHE_REQUESTS.name, JOB_FILTER + ', result="hit"')
_ALL = rate(names.CACHE_REQUESTS.name, JOB_FILTER)
DASHBOARD = Dashboard(
    uid="seedbed-data",
    title="Seedbed / Data plane",
    description="Waiting for data, cache of record batches, bytes fetched from stores.",
    variables=(NAMESPACE, JOB),
    rows=(
        Row(
            title="Now",
            panels=(
                stat_panel(
                    "Cache hits",
                    "Fraction of reads that the cache of the node answered.",
                    "percentunit",
                    f"{_HITS} / {_ALL}",
                    span=8,
                ),
                stat_panel(
                    "Fetched",
                    "Bytes per second from all stores.",
                    "Bps",
                    rate(names.FETCHED_BYTES.name, JOB_FILTER),
                    span=8,
                ),
                stat_panel(
                    "Images per second",
                    "Of the selected jobs.",
                    "short",
                    rate(names.IMAGES.name, JOB_FILTER),
                    span=8,
                ),
            ),
        ),
        Row(
            title="Waiting",
            panels=(
                line_panel(
                    "Share of time waiting for data",
                    "Share of rank 0's time; above the line (30 %) the feed is too slow.",
                    "percentunit",
                    (share(names.SECONDS.name, JOB_FILTER, 'part="data"', by=JOB_LABELS), JOB_LEGEND),
                    span=12,
                    style=PanelStyle(most=1, limits=((STARVING, BAD),)),
                ),
                line_panel(
                    "Images per second",
                    "Images that the ranks consume per second.",
                    "short",
                    (rate(names.IMAGES.name, JOB_FILTER, by=JOB_LABELS), JOB_LEGEND),
                    span=12,
                ),
            ),
        ),
        Row(
            title="Cache and stores",
            panels=(
                stacked_panel(
                    "Reads from the cache",
                    "hit: read from the cache; miss: fetched from the store; rejected: damaged bytes.",
                    "ops",
                    (rate(names.CACHE_REQUESTS.name, JOB_FILTER, by="result"), "{{result}}"),
                    span=12,
                    style=PanelStyle(colours={"hit": GOOD, "miss": WAITING, "rejected": BAD}),
                ),
                stacked_panel(
                    "Bytes fetched",
                    "Record batches read from the dataset's store, by kind of store.",
                    "Bps",
                    (rate(names.FETCHED_BYTES.name, JOB_FILTER, by="store"), "{{store}}"),
                    span=12,
                ),
            ),
        ),
    ),
)
