"""Liveness is the age of the last relist and passes that end; one that stands by is well; logs are one line each."""

from __future__ import annotations

import asyncio
import json
import logging
import re

import pytest
from prometheus_client import CollectorRegistry

from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.resource_kinds import JobKey, Key
from seedbed_operator.manager.health_server import MAX_RECONCILE_SILENCE, Health, serve
from seedbed_operator.manager.logging_setup import _is_relevant, _JsonFormatter, _TextFormatter
from seedbed_operator.metrics.metrics_page import MetricsPage
from seedbed_operator.reconciler.reconcile import ReconcileResult
from seedbed_operator.reconciler.workqueue import Workqueue, current_job
from seedbed_operator.relist import Relister
from support.operator.builders import NOON
from support.operator.fake_api_server import ApiServer


async def idle(_: Key) -> ReconcileResult:
    return ReconcileResult()


def health() -> Health:
    workqueue, cache = Workqueue(idle, lambda: NOON), InformerCache()
    relister = Relister(ApiServer(), cache, workqueue.enqueue, (None,))
    return Health(workqueue=workqueue, relister=relister, cache=cache, relist_seconds=10)


@pytest.mark.parametrize(
    ("leading_since", "swept", "waiting", "last_end", "unready_reason", "unhealthy_reason"),
    [
        pytest.param(None, None, 0, 0, None, None, id="standing by"),
        pytest.param(-1, None, 0, 0, "the first relist has not finished", None, id="just begun"),
        pytest.param(
            -99,
            None,
            0,
            0,
            "the first relist has not finished",
            "the last relist is 99 s old",
            id="no relist succeeds",
        ),
        pytest.param(-500, -5, 0, 0, None, None, id="well"),
        pytest.param(-500, -89, 0, 0, None, None, id="an old relist"),
        pytest.param(
            -500, -95, 0, 0, "the last relist is 95 s old", "the last relist is 95 s old", id="blind"
        ),
        pytest.param(-500, -5, 3, -10, None, None, id="busy"),
        pytest.param(
            -500,
            -5,
            3,
            -MAX_RECONCILE_SILENCE - 5,
            "3 jobs wait and no reconcile ends",
            "3 jobs wait and no reconcile ends",
            id="stuck",
        ),
    ],
)
def test_when_the_operator_should_be_started_again(
    leading_since: float | None,
    swept: float | None,
    waiting: int,
    last_end: float,
    unready_reason: str | None,
    unhealthy_reason: str | None,
) -> None:
    async def story() -> None:
        signs, now = health(), asyncio.get_running_loop().time()
        signs.leading_since = None if leading_since is None else now + leading_since
        signs.relister.last = None if swept is None else now + swept
        signs.workqueue.enqueue([("team", str(number)) for number in range(waiting)])
        signs.workqueue.counts.reconciles, signs.workqueue.counts.last_end = 1, now + last_end
        assert (signs.unready_reason(), signs.unhealthy_reason()) == (unready_reason, unhealthy_reason)
        pulse, begun = signs.snapshot(), leading_since if swept is None else swept
        assert pulse.queue_length == waiting
        relist_age = None if begun is None else pytest.approx(-begun, abs=30)
        assert pulse.relist_age == relist_age, "what the alert about it asks for"

    asyncio.run(story())


def record(error: Exception | None = None) -> logging.LogRecord:
    try:
        if error is not None:
            raise error
    except ValueError as raised:
        where = (type(raised), raised, raised.__traceback__)
        return logging.LogRecord("seedbed_operator.x", 40, "x.py", 1, "two\nlines %s", ("of",), where)
    return logging.LogRecord("seedbed_operator.x", 20, "x.py", 1, "two\nlines %s", ("of",), None)


def test_a_log_line_is_one_line_and_names_the_job() -> None:
    token = current_job.set(JobKey("team", "seedlings"))
    plain, structured = (
        _TextFormatter().format(record()),
        json.loads(_JsonFormatter().format(record(ValueError("a bug")))),
    )
    current_job.reset(token)
    assert plain.endswith("info    TrainingJob team/seedlings: two lines of")
    assert (structured["job"], structured["namespace"], structured["level"]) == ("seedlings", "team", "error")
    assert "test_health_server.py" in structured["message"]
    assert "a bug" in structured["stack"]


def test_retries_of_the_watch_are_not_worth_telling() -> None:
    noise = logging.LogRecord("kopf._cogs.clients.api", 40, "", 1, "Request attempt #1/17 failed", (), None)
    assert not _is_relevant(noise)
    assert _is_relevant(record())


def test_the_port_that_is_served_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Port 0 is any free one; who started the operator finds it in the log."""

    async def asked() -> str:
        registry = CollectorRegistry()
        runner = await serve(health(), MetricsPage(registry, ()), 0)
        try:
            (port,) = re.findall(r"serving on port (\d+)", caplog.text)
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            line = await reader.readline()
            writer.close()
            return line.decode()
        finally:
            await runner.cleanup()

    with caplog.at_level(logging.INFO):
        assert "200" in asyncio.run(asked())
