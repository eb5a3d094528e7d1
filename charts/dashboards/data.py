"""Dashboard of data loading: waiting for data, cache, fetched bytes."""

from __future__ import annotations

from alerts import STARVING
from dashboards.building import Look, Page, Row, lines, number, stacked
from dashboards.selecting import BAD, BY, EACH, GOOD, JOB, NAMESPACE, OF, WAITING, rate, share
from seedbed_api import metric_names as names

_HITS = rate(names.CACHE_REQUESTS.name, OF + ', result="hit"')
_ALL = rate(names.CACHE_REQUESTS.name, OF)
PAGE = Page(
    uid="seedbed-data",
    title="Seedbed / Data plane",
    description="Waiting for data, cache of record batches, bytes fetched from stores.",
    variables=(NAMESPACE, JOB),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Cache hits",
                    "Fraction of reads that the cache of the node answered.",
                    "percentunit",
                    f"{_HITS} / {_ALL}",
                    span=8,
                ),
                number(
                    "Fetched",
                    "Bytes per second from all stores.",
                    "Bps",
                    rate(names.FETCHED_BYTES.name, OF),
                    span=8,
                ),
                number(
                    "Images per second",
                    "Of the selected jobs.",
                    "short",
                    rate(names.IMAGES.name, OF),
                    span=8,
                ),
            ),
        ),
        Row(
            title="Waiting",
            panels=(
                lines(
                    "Share of time waiting for data",
                    "Share of rank 0's time; above the line (30 %) the feed is too slow.",
                    "percentunit",
                    (share(names.SECONDS.name, OF, 'part="data"', by=BY), EACH),
                    span=12,
                    look=Look(most=1, limits=((STARVING, BAD),)),
                ),
                lines(
                    "Images per second",
                    "Images that the ranks consume per second.",
                    "short",
                    (rate(names.IMAGES.name, OF, by=BY), EACH),
                    span=12,
                ),
            ),
        ),
        Row(
            title="Cache and stores",
            panels=(
                stacked(
                    "Reads from the cache",
                    "hit: read from the cache; miss: fetched from the store; rejected: damaged bytes.",
                    "ops",
                    (rate(names.CACHE_REQUESTS.name, OF, by="result"), "{{result}}"),
                    span=12,
                    look=Look(colours={"hit": GOOD, "miss": WAITING, "rejected": BAD}),
                ),
                stacked(
                    "Bytes fetched",
                    "Record batches read from the dataset's store, by kind of store.",
                    "Bps",
                    (rate(names.FETCHED_BYTES.name, OF, by="store"), "{{store}}"),
                    span=12,
                ),
            ),
        ),
    ),
)
