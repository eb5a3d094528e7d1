"""The data plane: who waits for data, what the cache gives, what is fetched from where."""

from __future__ import annotations

from dashboards.building import Page, Row, lines, number, stacked
from dashboards.selecting import BY, EACH, JOB, NAMESPACE, OF, rate
from seedbed_api import metrics as names

_HITS = rate(names.CACHE_REQUESTS.name, OF + ', result="hit"')
_ALL = rate(names.CACHE_REQUESTS.name, OF)
PAGE = Page(
    uid="seedbed-data",
    title="Seedbed / Data plane",
    description="Waiting for data, caches of record batches, bytes fetched from stores.",
    variables=(NAMESPACE, JOB),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Cache hits",
                    "Reads that the cache of the node answered, of all.",
                    "percentunit",
                    f"{_HITS} / {_ALL}",
                ),
                number(
                    "Fetched", "Bytes per second from all stores.", "Bps", rate(names.FETCHED_BYTES.name, OF)
                ),
                number("Images per second", "Over the chosen jobs.", "short", rate(names.IMAGES.name, OF)),
            ),
        ),
        Row(
            title="Waiting",
            panels=(
                lines(
                    "Share of time that waits for data",
                    "Rank 0's seconds of waiting for micro-batches, per second; above 0.2 data is the limit.",
                    "percentunit",
                    (rate(names.SECONDS.name, OF + ', part="data"', by=BY), EACH),
                    span=12,
                ),
                lines(
                    "Images per second",
                    "What the feed gives and the ranks take.",
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
                    "hit: it was there; miss: fetched from the store; rejected: its bytes were damaged.",
                    "ops",
                    (rate(names.CACHE_REQUESTS.name, OF, by="result"), "{{result}}"),
                    span=12,
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
