"""/healthz, /readyz and /metrics: 200 means that the operator sees the cluster and gets on, not only runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from seedbed_api.metric_names import CONTENT_TYPE
from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.kube_client.clock_skew import ClockSkew
from seedbed_operator.metrics.metrics_page import Page
from seedbed_operator.metrics.operator_metrics import Pulse
from seedbed_operator.reconciler.workqueue import Loop
from seedbed_operator.relist import Sweeper
from seedbed_operator.watch import Feed

STUCK_SECONDS: Final = 120.0
"""Jobs wait, and no pass has ended for so long: the loop is stuck."""
STALE_SWEEPS: Final = 3
"""The last sweep may be so many intervals old, and a minute more."""


def longest_blindness(sweep_seconds: float) -> float:
    """Return after how many seconds without a sweep an operator should be started again."""
    return STALE_SWEEPS * sweep_seconds + 60


@dataclass(kw_only=True)
class Vitals:
    """How the operator is."""

    loop: Loop
    sweeper: Sweeper
    stores: Stores
    sweep_seconds: int
    requests: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """Requests to the API server so far, by method, resource and code of the answer."""
    clock_skew: ClockSkew = field(default_factory=ClockSkew)
    feed: Feed | None = None
    """What takes the events of the watches; None before there are any."""
    leading_since: float | None = None
    """On the clock of the event loop; None while another operator leads."""

    def blind_for(self) -> float | None:
        """Return the age of the last sweep, or how long it leads without any; None for one that stands by."""
        if self.leading_since is None:
            return None
        age = self.sweeper.age()
        return asyncio.get_running_loop().time() - self.leading_since if age is None else age

    def trouble(self) -> str | None:
        """Return why the operator should be started again; None when it should not."""
        blind_for = self.blind_for()
        if blind_for is None:
            return None
        if blind_for > longest_blindness(self.sweep_seconds):
            return f"the last sweep is {blind_for:.0f} s old"
        now = asyncio.get_running_loop().time()
        if self.loop.waiting and self.loop.counts.passes and now - self.loop.counts.last_end > STUCK_SECONDS:
            return f"{self.loop.waiting} jobs wait and no pass ends"
        return None

    def unready(self) -> str | None:
        """Return why the operator is not ready; one that stands by is."""
        if self.leading_since is not None and self.sweeper.last is None:
            return "the first sweep is not in"
        return self.trouble()

    def pulse(self) -> Pulse:
        """Return what the operator tells of itself to Prometheus."""
        last = self.feed.last if self.feed else None
        return Pulse(
            leading=self.leading_since is not None,
            queue_length=self.loop.waiting,
            queue_age=self.loop.oldest_wait(),
            relists=self.sweeper.sweeps,
            corrections=self.sweeper.ghosts,
            relist_age=self.blind_for(),
            watch_age=None if last is None else asyncio.get_running_loop().time() - last,
            objects=self.stores.counts(),
            requests=dict(self.requests),
            clock_skew=self.clock_skew.seconds,
        )


async def serve(vitals: Vitals, page: Page, port: int) -> web.AppRunner:
    """Answer on a port until the runner is cleaned up."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(vitals.trouble())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(vitals.unready())

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
