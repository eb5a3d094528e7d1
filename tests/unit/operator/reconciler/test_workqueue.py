"""One pass at a time for each job, none lost, back-off that no event shortens, an end that waits for passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from seedbed_operator.kube_client.client_interface import NoApiResponse
from seedbed_operator.kube_client.resource_kinds import Key
from seedbed_operator.reconciler import workqueue as looping
from seedbed_operator.reconciler.fair_queue import FairQueue
from seedbed_operator.reconciler.reconcile import ReconcileResult
from seedbed_operator.reconciler.workqueue import Workqueue, backoff, requeue_delay

A, B = ("team", "a"), ("team", "b")


def now() -> datetime:
    return datetime.now(UTC)


def within(story: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await story()

    asyncio.run(limited())


def working(
    run: Callable[[Key], Awaitable[ReconcileResult]], workers: int = 2
) -> tuple[Workqueue, list[asyncio.Task[None]]]:
    workqueue = Workqueue(run, now)
    tasks = [asyncio.create_task(workqueue.run_worker()) for _ in range(workers)]
    workqueue.start()
    return workqueue, tasks


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something, however busy the machine is."""
    while not holds():
        await asyncio.sleep(0.005)


async def ended(workqueue: Workqueue, tasks: list[asyncio.Task[None]]) -> None:
    workqueue.stop()
    await asyncio.gather(*tasks)


def test_nothing_is_passed_over_before_the_stores_are_filled() -> None:
    async def story() -> None:
        seen: list[Key] = []

        async def run(key: Key) -> ReconcileResult:
            seen.append(key)
            return ReconcileResult()

        workqueue = Workqueue(run, now)
        task = asyncio.create_task(workqueue.run_worker())
        workqueue.enqueue([A])
        await asyncio.sleep(0.05)
        assert seen == []
        workqueue.start()
        await until(lambda: seen == [A])
        await ended(workqueue, [task])

    within(story)


def test_wakes_join_and_one_that_comes_during_a_pass_is_followed_by_another() -> None:
    async def story() -> None:
        begun, going_on, passes, side_by_side = asyncio.Event(), asyncio.Event(), [], set()

        async def run(key: Key) -> ReconcileResult:
            assert key not in side_by_side, "two passes over one job at once"
            side_by_side.add(key)
            passes.append(key)
            begun.set()
            await going_on.wait()
            side_by_side.remove(key)
            return ReconcileResult()

        workqueue, tasks = working(run, workers=3)
        for _ in range(5):
            workqueue.enqueue([A])
        await begun.wait()
        for _ in range(5):
            workqueue.enqueue([A])
        workqueue.enqueue([B])
        await until(lambda: len(passes) == 2)
        await asyncio.sleep(0.02)
        assert passes == [A, B]
        going_on.set()
        await until(lambda: len(passes) == 3)
        await asyncio.sleep(0.02)
        assert passes == [A, B, A]
        await ended(workqueue, tasks)

    within(story)


def test_who_is_given_the_line_sees_it_pressed_while_newcomers_wait_and_no_more_when_they_had_a_pass() -> (
    None
):
    async def story() -> None:
        queue, has_new_jobs = FairQueue(), list[bool]()

        async def run(key: Key) -> ReconcileResult:
            has_new_jobs.append(queue.has_new_jobs)
            return ReconcileResult(requeue=len(has_new_jobs) < 3)

        workqueue = Workqueue(run, now, queue=queue)
        workqueue.start()
        workqueue.enqueue([A, B])
        assert queue.has_new_jobs
        task = asyncio.create_task(workqueue.run_worker())
        await until(lambda: len(has_new_jobs) >= 4)
        assert has_new_jobs == [True, False, False, False]
        await ended(workqueue, [task])

    within(story)


def test_a_failed_job_is_left_alone_until_its_back_off_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looping, "backoff", lambda failures: 0.2 * failures)

    async def story() -> None:
        times: list[float] = []

        async def run(key: Key) -> ReconcileResult:
            times.append(asyncio.get_running_loop().time())
            if len(times) < 3:
                raise NoApiResponse("the API server is away")
            return ReconcileResult()

        workqueue, tasks = working(run)
        while len(times) < 3:
            workqueue.enqueue([A])
            await asyncio.sleep(0.01)
        assert times[1] - times[0] >= 0.2
        assert times[2] - times[1] >= 0.4
        assert workqueue.counts.failures == 2
        await ended(workqueue, tasks)

    within(story)


def test_a_pass_that_raises_is_logged_and_done_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(looping, "backoff", lambda failures: 0.01)

    async def story() -> None:
        passes: list[Key] = []

        async def run(key: Key) -> ReconcileResult:
            passes.append(key)
            if len(passes) == 1:
                raise ValueError("a bug")
            return ReconcileResult()

        workqueue, tasks = working(run)
        workqueue.enqueue([A])
        await until(lambda: passes == [A, A])
        await ended(workqueue, tasks)

    within(story)
    assert [record.getMessage() for record in caplog.records if "a bug" in record.getMessage()] == [
        "reconcile failed, next try in 0.0 s: ValueError: a bug"
    ]


def test_a_failure_is_told_with_its_back_off_and_a_teller_that_fails_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(looping, "backoff", lambda failures: 0.01 * failures)
    noon = datetime(2030, 1, 2, 12, tzinfo=UTC)

    async def story() -> None:
        told: list[tuple[Key, str, timedelta]] = []

        async def run(key: Key) -> ReconcileResult:
            if len(told) < 2:
                raise ValueError("a bug")
            return ReconcileResult()

        async def tell(key: Key, error: Exception, again_at: datetime) -> None:
            told.append((key, str(error), again_at - noon))
            raise KeyError("another bug")

        workqueue = Workqueue(run, lambda: noon, tell)
        task = asyncio.create_task(workqueue.run_worker())
        workqueue.start()
        workqueue.enqueue([A])
        await until(lambda: workqueue.counts.reconciles == 3)
        await ended(workqueue, [task])
        assert told == [(A, "a bug", timedelta(seconds=0.01)), (A, "a bug", timedelta(seconds=0.02))]

    within(story)
    assert "the failure could not be written to the status: KeyError: 'another bug'" in caplog.text


def test_time_wakes_a_job_and_an_earlier_event_does_not_lose_it() -> None:
    async def story() -> None:
        passes: list[float] = []

        async def run(key: Key) -> ReconcileResult:
            passes.append(asyncio.get_running_loop().time())
            return (
                ReconcileResult(requeue_at=now() + timedelta(seconds=0.15))
                if len(passes) < 3
                else ReconcileResult()
            )

        workqueue, tasks = working(run)
        workqueue.enqueue([A])
        await until(lambda: len(passes) == 1)
        workqueue.enqueue([A])
        await until(lambda: len(passes) == 3)
        assert passes[2] - passes[1] >= 0.14
        await ended(workqueue, tasks)

    within(story)


def test_a_job_that_is_planned_again_and_again_is_slowed_down() -> None:
    async def story() -> None:
        passes: list[Key] = []

        async def run(key: Key) -> ReconcileResult:
            passes.append(key)
            return ReconcileResult(requeue_at=now() - timedelta(seconds=1))

        workqueue, tasks = working(run)
        workqueue.enqueue([A])
        await asyncio.sleep(0.4)
        assert 1 <= len(passes) <= 7
        await ended(workqueue, tasks)

    within(story)


def test_a_job_that_is_gone_leaves_nothing_behind() -> None:
    async def story() -> None:
        async def run(key: Key) -> ReconcileResult:
            return ReconcileResult(not_found=True)

        workqueue, tasks = working(run)
        workqueue.enqueue([A, B])
        await until(lambda: workqueue.counts.reconciles == 2 and not workqueue._slots)
        await ended(workqueue, tasks)

    within(story)


def test_the_end_waits_for_passes_that_are_under_way_and_begins_no_more() -> None:
    async def story() -> None:
        begun, finished = asyncio.Event(), list[Key]()

        async def run(key: Key) -> ReconcileResult:
            begun.set()
            await asyncio.sleep(0.1)
            finished.append(key)
            return ReconcileResult()

        workqueue, tasks = working(run, workers=1)
        workqueue.enqueue([A, B])
        await begun.wait()
        await ended(workqueue, tasks)
        assert finished == [A]

    within(story)


def test_back_off_and_pause_grow_to_a_limit() -> None:
    assert all(0.5 <= backoff(1) <= 1.0 for _ in range(50))
    assert all(30 <= backoff(1000) <= 60 for _ in range(50))
    assert [requeue_delay(repeats) for repeats in (1, 3, 4, 5, 1000)] == [0.0, 0.0, 0.1, 0.2, 5.0]
