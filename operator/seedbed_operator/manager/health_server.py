"""HTTP server for /healthz, /readyz and /metrics; 200 means that relists succeed and reconciles end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from seedbed_api.metric_names import CONTENT_TYPE
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.clock_skew import ClockSkew
from seedbed_operator.metrics.metrics_page import MetricsPage
from seedbed_operator.metrics.operator_metrics import OperatorSnapshot
from seedbed_operator.reconciler.workqueue import Workqueue
from seedbed_operator.relist import Relister
from seedbed_operator.watch import WatchEventHandler

MAX_RECONCILE_SILENCE: Final = 120.0
"""The workqueue is stuck where jobs wait and no reconcile ends for this long."""
MAX_MISSED_RELISTS: Final = 3
"""The last relist may be this many intervals and a minute old."""


def max_relist_age(relist_seconds: float) -> float:
    """Return the age of the last relist in seconds after which the operator should restart."""
    return MAX_MISSED_RELISTS * relist_seconds + 60


@dataclass(kw_only=True)
class Health:
    """Health of the operator."""

    workqueue: Workqueue
    relister: Relister
    cache: InformerCache
    relist_seconds: int
    requests: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """Requests to the API server so far by method, resource and status code."""
    clock_skew: ClockSkew = field(default_factory=ClockSkew)
    watch_events: WatchEventHandler | None = None
    """Handler of watch events; None before the first watch."""
    leading_since: float | None = None
    """On the clock of the event loop; None while not the leader."""

    def relist_age(self) -> float | None:
        """Return the age of the last relist, or the time as leader without one; None while not the leader."""
        if self.leading_since is None:
            return None
        age = self.relister.age()
        return asyncio.get_running_loop().time() - self.leading_since if age is None else age

    def unhealthy_reason(self) -> str | None:
        """Return why the operator should restart; None where it is healthy."""
        relist_age = self.relist_age()
        if relist_age is None:
            return None
        if relist_age > max_relist_age(self.relist_seconds):
            return f"the last relist is {relist_age:.0f} s old"
        now = asyncio.get_running_loop().time()
        if (
            self.workqueue.waiting
            and self.workqueue.counts.reconciles
            and now - self.workqueue.counts.last_end > MAX_RECONCILE_SILENCE
        ):
            return f"{self.workqueue.waiting} jobs wait and no reconcile ends"
        return None

    def unready_reason(self) -> str | None:
        """Return why the operator is not ready; a standby is ready."""
        if self.leading_since is not None and self.relister.last is None:
            return "the first relist has not finished"
        return self.unhealthy_reason()

    def snapshot(self) -> OperatorSnapshot:
        """Return the state of the operator for its metrics."""
        last = self.watch_events.last if self.watch_events else None
        return OperatorSnapshot(
            leading=self.leading_since is not None,
            queue_length=self.workqueue.waiting,
            queue_age=self.workqueue.oldest_wait(),
            relists=self.relister.relists,
            corrections=self.relister.corrections,
            relist_age=self.relist_age(),
            watch_age=None if last is None else asyncio.get_running_loop().time() - last,
            objects=self.cache.counts(),
            requests=dict(self.requests),
            clock_skew=self.clock_skew.seconds,
        )


async def serve(health: Health, page: MetricsPage, port: int) -> web.AppRunner:
    """Serve on a port until the runner is cleaned up."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.unhealthy_reason())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.unready_reason())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await page.text(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def _answer(trouble: str | None) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=f"{trouble or 'ok'}\n")
