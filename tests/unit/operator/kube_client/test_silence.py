"""An API server that takes a request and never answers, as one whose admission webhook hangs."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from kubernetes.aio.client.configuration import Configuration

from seedbed_operator.kube_client import http_client
from seedbed_operator.kube_client.client_interface import NoApiResponse
from seedbed_operator.kube_client.http_client import REQUEST_SECONDS, HttpKubeClient, RequestLimits
from seedbed_operator.kube_client.resource_kinds import PODS
from seedbed_operator.reconciler.reconcile import failed_write_message


def test_who_is_silent_and_for_how_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))

    async def story() -> NoApiResponse:
        server = await asyncio.start_server(lambda reader, writer: asyncio.sleep(3600), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = HttpKubeClient(Configuration(host=f"http://127.0.0.1:{port}"), RequestLimits())
        with pytest.raises(NoApiResponse) as raised:
            await client.create(PODS, "team", {"metadata": {"name": "digits-1-driver"}})
        await client.close()
        server.close()
        return raised.value

    error = asyncio.run(asyncio.wait_for(story(), 60))
    assert f"no response within {REQUEST_SECONDS} s" in str(error)
    error.write = "the creation of Pod digits-1-driver"
    told = failed_write_message(error)
    assert "the creation of Pod digits-1-driver after repeated tries: no response (no response within" in told
    assert "usually an admission webhook hangs" in told


def test_an_admission_webhook_is_given_the_time_that_it_may_take() -> None:
    assert REQUEST_SECONDS > 30
