"""Drivers are asked beside the passes, in turn by namespace: one that is slow holds up its own job alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.kube_client.namespace_limit import NAMESPACES_AT_ONCE, NamespaceLimit
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.observe.driver_polls import MOST_AT_ONCE, MOST_PER_NAMESPACE, DriverPolls
from seedbed_operator.observe.transient_state import TransientState
from seedbed_operator.plan import EvidenceRequest
from support.operator.builders import UID, live
from support.operator.fake_api_server import NOON

LATER = NOON + timedelta(seconds=7)


class Slow:
    """Drivers that answer when the test lets them, and count who is asked at a time."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked: list[str] = []
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def get_progress(self, address: str, job_uid: str) -> LiveProgress | None:
        namespace = address.partition("/")[0]
        if namespace == "quick":
            return live(3)
        if namespace == "broken":
            raise ZeroDivisionError
        self.asked.append(address)
        for name in (namespace, "all"):
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
        try:
            await self.opened.wait()
        finally:
            for name in (namespace, "all"):
                self.now[name] -= 1
        return live(3)


class Ground:
    def __init__(self) -> None:
        self.drivers = Slow()
        self.woken: list[JobKey] = []
        self.polls = DriverPolls(self.drivers, self.enqueue, lambda: LATER)
        self.states: dict[JobKey, TransientState] = {}

    def enqueue(self, keys: Iterable[JobKey]) -> None:
        self.woken += keys

    async def ask(self, namespace: str, name: str = "a", now: datetime = NOON) -> TransientState:
        key = JobKey(namespace, name)
        state = self.states.setdefault(key, TransientState(uid=UID))
        need = EvidenceRequest(kind="Progress", pod="driver", pod_uid="d", address=f"{namespace}/{name}")
        await asyncio.wait_for(self.polls.ask(key, [need], state, now), 60)
        return state


def run(story: Callable[[Ground], object]) -> None:
    async def whole() -> None:
        ground = Ground()
        await story(ground)  # type: ignore[misc]
        await ground.polls.close()
        assert ground.polls.running == 0

    asyncio.run(whole())


def test_an_answer_that_comes_at_once_is_part_of_the_pass() -> None:
    async def story(ground: Ground) -> None:
        state = await ground.ask("quick")
        assert state.evidence(NOON).progress == {"d": live(3)}
        assert state.evidence(NOON).progress_asked == {"d": NOON}
        assert (ground.woken, state.pending) == ([], set())

    run(story)


def test_a_pass_goes_on_with_the_last_answer_and_the_new_one_makes_another() -> None:
    async def story(ground: Ground) -> None:
        state = await ground.ask("slow")
        assert state.evidence(NOON).progress == {"d": None}, "none yet"
        assert state.evidence(NOON).progress_changed == {}
        await ground.ask("slow")
        assert ground.drivers.asked == ["slow/a"], "it is being asked"
        ground.drivers.opened.set()
        while not ground.woken:
            await asyncio.sleep(0)
        assert ground.woken == [JobKey("slow", "a")]
        assert state.evidence(NOON).progress == {"d": live(3)}
        ground.drivers.opened.clear()
        await ground.ask("slow", now=NOON + timedelta(seconds=60))
        assert state.evidence(NOON + timedelta(seconds=60)).progress == {"d": live(3)}

    run(story)


def test_a_driver_that_cannot_be_asked_does_not_answer() -> None:
    async def story(ground: Ground) -> None:
        state = await ground.ask("broken")
        assert state.evidence(NOON).progress == {"d": None}
        assert state.pending == set()

    run(story)


def test_a_thousand_slow_drivers_of_one_namespace_leave_room_for_the_others() -> None:
    async def story(ground: Ground) -> None:
        await asyncio.gather(*(ground.ask("slow", str(number)) for number in range(1_000)))
        assert ground.polls.running == MOST_PER_NAMESPACE
        state = await ground.ask("quick")
        assert state.evidence(NOON).progress == {"d": live(3)}
        ground.drivers.opened.set()
        while ground.polls.running:
            await asyncio.sleep(0)
        assert len(ground.drivers.asked) == 1_000
        assert ground.drivers.most["slow"] == MOST_PER_NAMESPACE
        asked = {
            state.driver_responses["d"].asked
            for key, state in ground.states.items()
            if key.namespace == "slow"
        }
        assert asked == {NOON, LATER}, "those that waited were asked later than their pass"

    run(story)


def test_requests_of_all_namespaces_are_bounded_and_take_turns() -> None:
    async def story(ground: Ground) -> None:
        names = [f"n{number}" for number in range(2 * MOST_AT_ONCE // MOST_PER_NAMESPACE)]
        await asyncio.gather(*(ground.ask(name, str(number)) for name in names for number in range(30)))
        assert ground.polls.running == MOST_AT_ONCE
        ground.drivers.opened.set()
        while ground.polls.running:
            await asyncio.sleep(0)
        assert ground.drivers.most["all"] == MOST_AT_ONCE
        assert max(ground.drivers.most[name] for name in names) <= MOST_PER_NAMESPACE
        assert len(ground.drivers.asked) == 30 * len(names)
        assert (ground.polls._waiting, dict(ground.polls._running)) == ({}, {})

    run(story)


def test_writes_of_one_namespace_leave_room_for_the_others_and_nothing_behind() -> None:
    async def story() -> None:
        limit, opened, entered = NamespaceLimit(2), asyncio.Event(), list[str]()

        async def write(namespace: str) -> None:
            async with limit.hold(namespace):
                entered.append(namespace)
                await opened.wait()

        hanging = [asyncio.create_task(write("hangs")) for _ in range(10)]
        await asyncio.sleep(0)
        calm = asyncio.create_task(write("calm"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert entered == ["hangs", "hangs", "calm"]
        opened.set()
        await asyncio.gather(*hanging, calm)
        assert len(limit) == 0

    assert NAMESPACES_AT_ONCE > 1
    asyncio.run(story())
