"""Cost of a scrape of an operator with thousands of jobs: CPU, and how long its event loop is blocked.

Two ways, interleaved: a thread writes the page, as in the operator, or the event loop does.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from process_tree import machine
from seedbed_api.prometheus_exposition import exposition_page
from seedbed_api.timestamps import format_time
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import job_record, job_view
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES
from seedbed_operator.metrics.job_metrics import JobMetrics
from seedbed_operator.metrics.metrics_page import MetricsPage
from seedbed_operator.observe.transient_state import TransientStates

NOW = format_time(datetime.now(UTC))
IMAGE = "registry.example/seedbed@sha256:" + "a" * 64
TICK_SECONDS = 0.001
Raw = dict[str, Any]


@dataclass
class Fleet:
    """Jobs that train, and the operator's cache and summaries of them."""

    size: int
    cache: InformerCache = field(default_factory=InformerCache)
    version: int = 0

    def __post_init__(self) -> None:
        profile = {"metadata": {"name": "gpu", "uid": "gpu", "resourceVersion": "1"}}
        self.cache.put(PROFILES, profile | {"spec": {"image": IMAGE, "worker": {"gpu": {"count": 1}}}})
        for number in range(self.size):
            for pod in pods_of(number):
                self.cache.put(PODS, pod)
        self.jobs = JobMetrics(self.cache, TransientStates(), time.time)
        self.move()

    def forget(self) -> None:
        """Be an operator that has just begun."""
        self.jobs = JobMetrics(self.cache, TransientStates(), time.time)

    def move(self, *, by_the_operator: bool = False) -> None:
        """Let every job get on by a step."""
        self.version += 1
        for number in range(self.size):
            raw = a_job(number, self.version)
            self.cache.put(JOBS, raw)
            if by_the_operator:
                self.jobs.update(job_view(job_record(raw)))


def a_job(number: int, step: int) -> Raw:
    """Return a job that trains."""
    conditions = [("Running", "True"), ("Reconciling", "False")]
    workers = {"profile": "gpu", "workers": {"min": 1, "max": 2}}
    return {
        "metadata": {
            "name": f"job-{number:05}",
            "namespace": f"team-{number % 10}",
            "uid": f"uid-{number}",
            "resourceVersion": str(step),
            "creationTimestamp": NOW,
        },
        "spec": {
            "dataset": {"uri": "s3://data/seedlings"},
            "model": {"name": "resnet18"},
            "training": {
                "epochs": 20,
                "batch": {"globalSize": 128, "microSize": 16},
                "optimizer": {"type": "SGD", "learningRate": "0.1", "sgd": {"momentum": "0.9"}},
            },
            "output": {"uri": "s3://runs"},
            "cluster": workers,
        },
        "status": {
            "attempts": 1,
            "attemptStartTime": NOW,
            "conditions": [
                {"type": kind, "status": status, "reason": "Training", "lastTransitionTime": NOW}
                for kind, status in conditions
            ],
            "progress": {"epoch": 0, "step": step, "totalSteps": 10_000, "percent": step // 100}
            | {"estimatedCompletionTime": NOW},
            "checkpoint": {"step": 1, "digest": "sha256:" + "b" * 64, "time": NOW},
            "workers": {"ready": 2, "desired": 2},
            "metrics": [{"name": "training/loss", "value": "0.5"}],
        },
    }


def pods_of(number: int) -> Iterator[Raw]:
    """Yield a driver and two workers."""
    for role, name in (("driver", "driver"), ("worker", "worker-0"), ("worker", "worker-1")):
        labels = {"seedbed.dev/job": f"job-{number:05}", "seedbed.dev/job-uid": f"uid-{number}"}
        labels |= {"seedbed.dev/role": role, "seedbed.dev/attempt": "1"}
        metadata = {"name": f"job-{number:05}-1-{name}", "namespace": f"team-{number % 10}"}
        metadata |= {"uid": f"{number}-{name}", "resourceVersion": "1", "creationTimestamp": NOW}
        yield {"metadata": {**metadata, "labels": labels}, "spec": {"nodeName": "node"}, "status": {}}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one scrape took."""

    cpu: float
    stall: float
    """The longest time for which the event loop did nothing else."""


async def cost_of(scrape: Callable[[], Awaitable[bytes]]) -> Cost:
    """Scrape once beside something that wants to go on every millisecond."""
    gaps = [0.0]

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(10 * TICK_SECONDS)
    before = time.process_time()
    await scrape()
    cpu = time.process_time() - before
    await asyncio.sleep(10 * TICK_SECONDS)
    ticking.cancel()
    return Cost(cpu=cpu, stall=max(gaps))


def by_a_thread(fleet: Fleet) -> Callable[[], Awaitable[bytes]]:
    """Return what the operator does."""
    return MetricsPage(CollectorRegistry(), [fleet.jobs.collect]).text


def in_the_event_loop(fleet: Fleet) -> Callable[[], Awaitable[bytes]]:
    """Return what is simplest."""

    async def scrape() -> bytes:
        return exposition_page(fleet.jobs.collect())

    return scrape


WAYS = {"in the event loop": in_the_event_loop, "by a thread": by_a_thread}
SITUATIONS: dict[str, Callable[[Fleet], None]] = {
    "no change": lambda fleet: None,  # noqa: ARG005
    "all jobs advanced, written by the operator": lambda fleet: fleet.move(by_the_operator=True),
    "all jobs advanced, read from the cache": lambda fleet: fleet.move(),
    "first scrape after a start": lambda fleet: fleet.forget(),
}
Costs = dict[tuple[str, str], list[Cost]]


async def measured(size: int, rounds: int) -> Costs:
    """Return what scrapes cost, by situation and way."""
    fleet, costs = Fleet(size), Costs()
    await by_a_thread(fleet)()
    for _ in range(rounds):
        for situation, happen in SITUATIONS.items():
            for way, scraping in WAYS.items():
                happen(fleet)
                costs.setdefault((situation, way), []).append(await cost_of(scraping(fleet)))
    return costs


def page_of(found: dict[int, Costs]) -> str:
    """Return the page with its table."""
    rows = [
        f"| {size:,} | {situation} | {way} |"
        f" {median(costs, 'cpu'):.2f} | {1000 * median(costs, 'stall'):,.0f} |"
        for size, all_costs in found.items()
        for (situation, way), costs in all_costs.items()
    ]
    rounds = {len(costs) for all_costs in found.values() for costs in all_costs.values()}
    return "\n".join(
        [
            "# Cost of a scrape of the operator",
            "",
            "This page shows how much CPU a scrape costs, and for how long it blocks the event loop, which",
            "answers probes and reconciles jobs. `make bench-scraping`: `/metrics` of an operator with",
            f"running jobs of three pods each. Medians of {min(rounds)} scrapes, both ways interleaved.",
            "",
            machine(),
            "",
            "| jobs | before the scrape | page written | CPU-s | longest stall, ms |",
            "| ---: | --- | --- | ---: | ---: |",
            *rows,
            "",
            "The operator uses a thread. The second case is the usual one: the operator need not read again",
            "what it has just written. A start, and changes by others, cost most. The machine was shared, so",
            "stalls are longer than on a quiet one.",
            "",
        ]
    )


def median(costs: list[Cost], what: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(cost, what) for cost in costs)


def main() -> None:
    """Measure and write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, nargs="+", default=[2000, 5000])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--write", type=Path)
    chosen = arguments.parse_args()
    found = {size: asyncio.run(measured(size, chosen.rounds)) for size in chosen.jobs}
    text = page_of(found)
    print(text)
    if chosen.write:
        chosen.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
