"""The clock of an API server is read from the Date of its answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from seedbed_operator.kube_client.http_client import HttpKubeClient, RequestLimits


async def skew_of(ahead: timedelta) -> float | None:
    """Return what an operator finds whose API server's clock is so far ahead."""

    async def answer(_: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) + ahead, usegmt=True)
        return web.json_response({}, headers={"Date": date})

    app = web.Application()
    app.add_routes([web.get("/version", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    cluster = HttpKubeClient(Configuration(host=f"http://127.0.0.1:{port}"), RequestLimits())
    try:
        await cluster.read("/version")
    finally:
        await cluster.close()
        await runner.cleanup()
    return cluster.clock_skew.seconds


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_the_skew_is_read_from_an_answer(minutes: int) -> None:
    skew = asyncio.run(skew_of(timedelta(minutes=minutes)))
    assert skew == pytest.approx(-60 * minutes, abs=30)
