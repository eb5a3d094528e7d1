"""Who waits for a pass goes in the order of coming, but newcomers first, and nobody waits for them for long."""

from __future__ import annotations

import asyncio
from itertools import count

from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.reconciler.workqueue import NEW_JOB_PRIORITY_SECONDS, FairQueue


def job(name: str) -> JobKey:
    return JobKey("team", name)


async def served(line: FairQueue) -> list[str]:
    """Return the names of all that wait, in their turns."""
    found = [await line.next() for _ in range(len(line))]
    return [key.name if key else "(home)" for key in found]


def test_newcomers_go_first_and_all_others_in_the_order_of_coming() -> None:
    async def story() -> None:
        line = FairQueue()
        for name in ("known-1", "new-1", "known-2", "new-2"):
            line.join(job(name), is_new=name.startswith("new"))
        assert await served(line) == ["new-1", "new-2", "known-1", "known-2"]

    asyncio.run(story())


def test_a_stream_of_newcomers_holds_nobody_up_for_ever() -> None:
    async def story() -> None:
        seconds = count()
        line = FairQueue(clock=lambda: float(next(seconds)))
        line.join(job("known"), is_new=False)
        before = 0
        while True:
            line.join(job(f"new-{before}"), is_new=True)
            if await line.next() == job("known"):
                break
            before += 1
        assert before == NEW_JOB_PRIORITY_SECONDS - 1, "one came each second, and the last came too late"

    asyncio.run(story())


def test_it_is_pressed_while_newcomers_wait() -> None:
    async def story() -> None:
        line = FairQueue()
        assert not line.has_new_jobs
        line.join(job("known"), is_new=False)
        assert not line.has_new_jobs
        line.join(job("new"), is_new=True)
        assert line.has_new_jobs
        assert await line.next() == job("new")
        assert not line.has_new_jobs

    asyncio.run(story())


def test_a_worker_that_is_sent_home_goes_before_anybody_has_a_turn() -> None:
    async def story() -> None:
        line = FairQueue()
        line.join(job("new"), is_new=True)
        line.release_worker()
        assert await served(line) == ["(home)", "new"]

    asyncio.run(story())
