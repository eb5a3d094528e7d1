"""Who waits for a pass goes in the order of coming, but newcomers first, and nobody waits for them for long."""

from __future__ import annotations

import asyncio
from itertools import count

from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.reconciler.workqueue import NEW_JOB_PRIORITY_SECONDS, FairQueue


def job(name: str) -> JobKey:
    return JobKey("team", name)


async def served(queue: FairQueue) -> list[str]:
    """Return the names of all that wait, in their turns."""
    found = [await queue.get() for _ in range(len(queue))]
    return [key.name if key else "(home)" for key in found]


def test_newcomers_go_first_and_all_others_in_the_order_of_coming() -> None:
    async def story() -> None:
        queue = FairQueue()
        for name in ("known-1", "new-1", "known-2", "new-2"):
            queue.put(job(name), is_new=name.startswith("new"))
        assert await served(queue) == ["new-1", "new-2", "known-1", "known-2"]

    asyncio.run(story())


def test_a_stream_of_newcomers_holds_nobody_up_for_ever() -> None:
    async def story() -> None:
        seconds = count()
        queue = FairQueue(clock=lambda: float(next(seconds)))
        queue.put(job("known"), is_new=False)
        before = 0
        while True:
            queue.put(job(f"new-{before}"), is_new=True)
            if await queue.get() == job("known"):
                break
            before += 1
        assert before == NEW_JOB_PRIORITY_SECONDS - 1, "one came each second, and the last came too late"

    asyncio.run(story())


def test_it_is_pressed_while_newcomers_wait() -> None:
    async def story() -> None:
        queue = FairQueue()
        assert not queue.has_new_jobs
        queue.put(job("known"), is_new=False)
        assert not queue.has_new_jobs
        queue.put(job("new"), is_new=True)
        assert queue.has_new_jobs
        assert await queue.get() == job("new")
        assert not queue.has_new_jobs

    asyncio.run(story())


def test_a_worker_that_is_sent_home_goes_before_anybody_has_a_turn() -> None:
    async def story() -> None:
        queue = FairQueue()
        queue.put(job("new"), is_new=True)
        queue.release_worker()
        assert await served(queue) == ["(home)", "new"]

    asyncio.run(story())
