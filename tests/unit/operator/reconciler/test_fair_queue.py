"""Who waits for a pass goes in the order of coming, but newcomers first, and nobody waits for them for long."""

from __future__ import annotations

import asyncio
from itertools import count

from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.reconciler.fair_queue import NEW_JOB_PRIORITY_SECONDS, FairQueue


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


def test_namespaces_take_turns_whatever_one_of_them_brings() -> None:
    async def story() -> None:
        queue = FairQueue()
        for number in range(2_000):
            queue.put(JobKey("busy", f"churn-{number}"), is_new=True)
        queue.put(JobKey("calm", "first"), is_new=True)
        queue.put(JobKey("third", "first"), is_new=True)
        assert [(await queue.get()).namespace for _ in range(4)] == ["busy", "calm", "third", "busy"]  # type: ignore[union-attr]

    asyncio.run(story())


def test_a_new_job_goes_before_the_known_ones_of_every_namespace() -> None:
    async def story() -> None:
        queue = FairQueue()
        for namespace in ("busy", "busy", "third"):
            queue.put(JobKey(namespace, "known"), is_new=False)
        queue.put(JobKey("calm", "new"), is_new=True)
        order = [await queue.get() for _ in range(4)]
        assert [key.namespace for key in order if key] == ["calm", "busy", "third", "busy"]

    asyncio.run(story())


def test_a_namespace_has_a_bounded_number_of_jobs_out_and_the_others_go_on() -> None:
    async def story() -> None:
        queue = FairQueue(most_per_namespace=2)
        for number in range(5):
            queue.put(JobKey("busy", str(number)), is_new=True)
        held = [await queue.get(), await queue.get()]
        third = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not third.done()
        queue.put(JobKey("calm", "first"), is_new=False)
        assert await third == JobKey("calm", "first")
        fourth = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not fourth.done()
        assert held[0] is not None
        queue.done(held[0])
        assert await fourth == JobKey("busy", "2")

    asyncio.run(story())


def test_a_worker_that_is_cancelled_as_it_is_woken_wakes_the_next() -> None:
    async def story() -> None:
        queue = FairQueue()
        first, second = (asyncio.create_task(queue.get()) for _ in range(2))
        await asyncio.sleep(0)
        queue.put(job("new"), is_new=True)
        first.cancel()
        assert await asyncio.wait_for(second, 10) == job("new")

    asyncio.run(story())


def test_nothing_is_left_of_what_was_served() -> None:
    async def story() -> None:
        queue = FairQueue()
        for number in range(100):
            queue.put(JobKey(f"namespace-{number}", "a"), is_new=True)
            key = await queue.get()
            assert key is not None
            queue.done(key)
        assert (len(queue), queue._waiting, dict(queue._out), len(queue._workers)) == (0, {}, {}, 0)

    asyncio.run(story())
