"""HTTP server for /healthz, /readyz and /metrics; 200 means that relists succeed and reconciles end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from seedbed_api.metric_names import CONTENT_TYPE
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.clock_skew import ClockSkew
from seedbed_operator.manager.connection_limit import ConnectionLimit
from seedbed_operator.metrics.metrics_page import MetricsPage
from seedbed_operator.metrics.operator_metrics import OperatorSnapshot
from seedbed_operator.reconciler.workqueue import Workqueue
from seedbed_operator.relist import Relister
from seedbed_operator.watch import WatchEventHandler

MAX_RECONCILE_SILENCE: Final = 120.0
"""The workqueue is stuck where jobs wait and no reconcile ends for this long."""
MOST_CONNECTIONS: Final = 256
CONNECTION_SECONDS: Final = 60.0
"""Prometheus keeps a connection for many scrapes, and opens another one."""
_LONGEST_LINE: Final = 4096
_BOUNDS: Final[dict[str, Any]] = {
    "max_line_size": _LONGEST_LINE,
    "max_field_size": _LONGEST_LINE,
    "max_headers": 64,
    "lingering_time": 0,
}
_BACKLOG: Final = 1024
MAX_MISSED_RELISTS: Final = 3
"""The last relist may be this many intervals and a minute old."""

log = logging.getLogger(__name__)


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
            unreadable=dict(self.cache.unreadable),
            requests=dict(self.requests),
            clock_skew=self.clock_skew.seconds,
        )


async def serve(health: Health, page: MetricsPage, port: int) -> web.AppRunner:
    """Serve on a port until the runner is cleaned up.

    Any pod may be able to connect: connections are bounded in number and time, requests in size.
    """
    servers: list[asyncio.Server] = []

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.unhealthy_reason())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.unready_reason())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await page.text(), headers={"Content-Type": CONTENT_TYPE})

    async def stop_listening(_: web.Application) -> None:
        for server in servers:
            server.close()

    app = web.Application(client_max_size=_LONGEST_LINE)
    app.on_shutdown.append(stop_listening)
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, logger=_logger(), **_BOUNDS)
    await runner.setup()
    assert runner.server is not None
    limit = ConnectionLimit(runner.server, most=MOST_CONNECTIONS, seconds=CONNECTION_SECONDS)
    servers.append(await asyncio.get_running_loop().create_server(limit, port=port, backlog=_BACKLOG))
    addresses = [socket.getsockname() for socket in servers[0].sockets]
    log.info("serving on port %d", min(addresses, key=len)[1])  # that of IPv4
    return runner


def _logger() -> logging.Logger:
    """Return a logger for errors of ours: strangers who send what is no HTTP write nothing into the log."""
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_own_error)
    return logger


def _is_own_error(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _answer(trouble: str | None) -> web.Response:
    return web.Response(status=503 if trouble else 200, text=f"{trouble or 'ok'}\n")
