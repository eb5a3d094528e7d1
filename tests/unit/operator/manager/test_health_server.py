"""Liveness is the age of the last sweep and passes that end; one that stands by is well; logs are one line each."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.kube_client.resource_kinds import JobKey, Key
from seedbed_operator.manager.health_server import STUCK_SECONDS, Vitals
from seedbed_operator.manager.logging_setup import _Json, _Line, _worth_telling
from seedbed_operator.reconciler.reconcile import After
from seedbed_operator.reconciler.workqueue import Loop, present_job
from seedbed_operator.relist import Sweeper
from support.operator.builders import NOON
from support.operator.fake_api_server import ApiServer


async def idle(_: Key) -> After:
    return After()


def vitals() -> Vitals:
    loop, stores = Loop(idle, lambda: NOON), Stores()
    sweeper = Sweeper(ApiServer(), stores, loop.wake, (None,))
    return Vitals(loop=loop, sweeper=sweeper, stores=stores, sweep_seconds=10)


@pytest.mark.parametrize(
    ("leading_since", "swept", "waiting", "last_end", "unready", "trouble"),
    [
        pytest.param(None, None, 0, 0, None, None, id="standing by"),
        pytest.param(-1, None, 0, 0, "the first sweep is not in", None, id="just begun"),
        pytest.param(
            -99, None, 0, 0, "the first sweep is not in", "the last sweep is 99 s old", id="no sweep succeeds"
        ),
        pytest.param(-500, -5, 0, 0, None, None, id="well"),
        pytest.param(-500, -89, 0, 0, None, None, id="an old sweep"),
        pytest.param(-500, -95, 0, 0, "the last sweep is 95 s old", "the last sweep is 95 s old", id="blind"),
        pytest.param(-500, -5, 3, -10, None, None, id="busy"),
        pytest.param(
            -500,
            -5,
            3,
            -STUCK_SECONDS - 5,
            "3 jobs wait and no pass ends",
            "3 jobs wait and no pass ends",
            id="stuck",
        ),
    ],
)
def test_when_the_operator_should_be_started_again(
    leading_since: float | None,
    swept: float | None,
    waiting: int,
    last_end: float,
    unready: str | None,
    trouble: str | None,
) -> None:
    async def story() -> None:
        signs, now = vitals(), asyncio.get_running_loop().time()
        signs.leading_since = None if leading_since is None else now + leading_since
        signs.sweeper.last = None if swept is None else now + swept
        signs.loop.wake([("team", str(number)) for number in range(waiting)])
        signs.loop.counts.passes, signs.loop.counts.last_end = 1, now + last_end
        assert (signs.unready(), signs.trouble()) == (unready, trouble)
        pulse, begun = signs.pulse(), leading_since if swept is None else swept
        assert pulse.queue_length == waiting
        blind_for = None if begun is None else pytest.approx(-begun, abs=30)
        assert pulse.relist_age == blind_for, "what the alert about it asks for"

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
    token = present_job.set(JobKey("team", "seedlings"))
    plain, structured = _Line().format(record()), json.loads(_Json().format(record(ValueError("a bug"))))
    present_job.reset(token)
    assert plain.endswith("info    TrainingJob team/seedlings: two lines of")
    assert (structured["job"], structured["namespace"], structured["level"]) == ("seedlings", "team", "error")
    assert "test_health_server.py" in structured["message"]
    assert "a bug" in structured["stack"]


def test_retries_of_the_watch_are_not_worth_telling() -> None:
    noise = logging.LogRecord("kopf._cogs.clients.api", 40, "", 1, "Request attempt #1/17 failed", (), None)
    assert not _worth_telling(noise)
    assert _worth_telling(record())
