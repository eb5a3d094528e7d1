"""/healthz, /readyz and /metrics: 200 means that the operator sees the cluster and gets on, not only runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from seedbed_operator.looping.loop import Loop
from seedbed_operator.stores.stores import Stores
from seedbed_operator.sweeping import Sweeper

STUCK_SECONDS: Final = 120.0
"""Jobs wait, and no pass has ended for so long: the loop is stuck."""
STALE_SWEEPS: Final = 3
"""The last sweep may be so many intervals old, and a minute more."""


@dataclass(kw_only=True)
class Vitals:
    """How the operator is."""

    loop: Loop
    sweeper: Sweeper
    stores: Stores
    sweep_seconds: int
    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests to the API server so far, by method and resource."""
    leading_since: float | None = None
    """On the clock of the event loop; None while another operator leads."""

    def trouble(self) -> str | None:
        """Return why the operator should be started again; None when it should not."""
        if self.leading_since is None:
            return None
        now = asyncio.get_running_loop().time()
        age, oldest = self.sweeper.age(), STALE_SWEEPS * self.sweep_seconds + 60
        age = now - self.leading_since if age is None else age
        if age > oldest:
            return f"the last sweep is {age:.0f} s old"
        if self.loop.waiting and self.loop.counts.passes and now - self.loop.counts.last_end > STUCK_SECONDS:
            return f"{self.loop.waiting} jobs wait and no pass ends"
        return None

    def unready(self) -> str | None:
        """Return why the operator is not ready; one that stands by is."""
        if self.leading_since is not None and self.sweeper.last is None:
            return "the first sweep is not in"
        return self.trouble()

    def metrics(self) -> Mapping[str, float]:
        """Return what is counted, by metric name and labels."""
        counts = self.loop.counts
        objects = {f'objects{{kind="{kind}"}}': count for kind, count in self.stores.counts().items()}
        requests = {
            f'requests_total{{method="{method}",resource="{resource}"}}': count
            for (method, resource), count in self.requests.items()
        }
        return {
            "leading": float(self.leading_since is not None),
            "passes_total": counts.passes,
            "pass_failures_total": counts.failures,
            "jobs_waiting": self.loop.waiting,
            "sweeps_total": self.sweeper.sweeps,
            "sweep_corrections_total": self.sweeper.ghosts,
            "sweep_age_seconds": self.sweeper.age() or 0.0,
            **objects,
            **requests,
        }


async def serve(vitals: Vitals, port: int) -> web.AppRunner:
    """Answer on a port until the runner is cleaned up."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(vitals.trouble())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(vitals.unready())

    async def metrics(_: web.Request) -> web.Response:
        lines = (f"seedbed_operator_{name} {value}\n" for name, value in vitals.metrics().items())
        return web.Response(text="".join(lines), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def _answer(trouble: str | None) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=f"{trouble or 'ok'}\n")
