"""A function is called again and again until its thread is stopped, by the owner or by itself."""

from __future__ import annotations

import threading
import time

from seedbed.periodic_thread import PeriodicThread

SECONDS = 0.005
PATIENCE = 10.0


def test_the_function_is_called_until_the_block_ends() -> None:
    calls: list[str] = []
    enough = threading.Event()

    def call() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            enough.set()

    with PeriodicThread(call, seconds=SECONDS, name="periodic"):
        assert enough.wait(PATIENCE)
    done = len(calls)
    time.sleep(10 * SECONDS)
    assert len(calls) == done
    assert set(calls) == {"periodic"}


def test_the_first_call_comes_after_an_interval() -> None:
    calls: list[int] = []
    with PeriodicThread(lambda: calls.append(1), seconds=3600, name="periodic"):
        pass
    assert calls == []


def test_a_function_may_cancel_its_own_thread() -> None:
    calls: list[int] = []
    called = threading.Event()

    def call() -> None:
        calls.append(1)
        thread.cancel()
        called.set()

    thread = PeriodicThread(call, seconds=SECONDS, name="periodic")
    thread.start()
    assert called.wait(PATIENCE)
    time.sleep(10 * SECONDS)
    assert thread.stop(timeout=PATIENCE)
    assert len(calls) == 1


def test_a_stop_reports_a_call_that_does_not_return() -> None:
    entered, release = threading.Event(), threading.Event()

    def call() -> None:
        entered.set()
        release.wait(PATIENCE)

    thread = PeriodicThread(call, seconds=SECONDS, name="periodic")
    thread.start()
    assert entered.wait(PATIENCE)
    assert not thread.stop(timeout=0.05)
    release.set()
    assert thread.stop(timeout=PATIENCE)
