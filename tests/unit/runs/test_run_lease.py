"""Claims and leases: one trains, others wait or take over; decided by pure functions and by real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs import RunFolder, acquire_lease, open_run
from seedbed.runs.attempt_claims import (
    AttemptClaim,
    claim_attempt,
    highest_attempt,
    read_claim,
    require_newest_attempt,
)
from seedbed.runs.process_identity import TURN_VARIABLE, ProcessIdentity, is_known_dead, this_process
from seedbed.runs.run_lease import (
    HeartbeatObservation,
    RunLease,
    is_released,
    lease_state,
    max_poll_gap,
    observe_heartbeat,
)
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError

RUN = "sha256:" + "ef" * 32
QUICK = {"workers": 1, "version": "0", "poll": 0.02, "beat_every": 0.05}
RELEASED = json.dumps({"state": "released"}).encode()
ELSEWHERE = replace(this_process(), host="another", boot="another", pid=1)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return open_run(open_storage(str(tmp_path)), RUN)


@pytest.mark.parametrize(
    ("beat", "dead", "silent", "expected"),
    [
        pytest.param(b"1", False, 29.9, "held", id="silent, not yet for the whole time"),
        pytest.param(b"1", False, 30.0, "free", id="silent for the whole time"),
        pytest.param(b"1", True, 0.0, "free", id="surely dead"),
        pytest.param(RELEASED, False, 0.0, "free", id="given back"),
        pytest.param(None, False, 1.0, "held", id="claimed, no heartbeat yet"),
        pytest.param(None, False, 31.0, "free", id="claimed, never a heartbeat"),
        pytest.param(b"{torn", False, 0.0, "held", id="an unreadable heartbeat is one"),
    ],
)
def test_standing(beat: bytes | None, dead: bool, silent: float, expected: str) -> None:
    sighting = HeartbeatObservation(attempt=1, heartbeat=beat, since=100.0, last_read=100.0)
    assert lease_state(sighting, holder_dead=dead, now=100.0 + silent, stale_after=30.0) == expected


def test_sighting_is_young_again_after_any_change() -> None:
    first = observe_heartbeat(None, attempt=1, beat=b"1", now=10.0, gap=10.0)
    assert observe_heartbeat(first, attempt=1, beat=b"1", now=20.0, gap=10.0).since == 10.0
    assert observe_heartbeat(first, attempt=1, beat=b"2", now=20.0, gap=10.0).since == 20.0
    assert observe_heartbeat(first, attempt=2, beat=b"1", now=20.0, gap=10.0).since == 20.0


@pytest.mark.parametrize(
    ("looks", "since"),
    [
        pytest.param([0, 1, 2, 3, 40], 40, id="the store was away, and its first answer is an old beat"),
        pytest.param([0, 1, 40, 41, 45, 50], 40, id="silence counts again from there"),
        pytest.param([0, 5, 10, 15, 20, 25, 30], 0, id="slow looks are looks"),
        pytest.param([0, 5.1, 10], 5.1, id="a gap of a little more than allowed"),
    ],
)
def test_silence_counts_only_while_we_look(looks: list[float], since: float) -> None:
    sighting = None
    for now in looks:
        sighting = observe_heartbeat(sighting, attempt=1, beat=b"1", now=now, gap=5.0)
    assert sighting == HeartbeatObservation(attempt=1, heartbeat=b"1", since=since, last_read=looks[-1])


def test_gap_allows_slow_looks_and_is_well_below_the_time_of_silence() -> None:
    assert max_poll_gap(poll=1.0, stale_after=30.0) == 7.5
    assert max_poll_gap(poll=2.0, stale_after=30.0) == 10.0


def test_outage_of_the_store_is_no_silence_of_the_holder(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can read or write for longer than the time of silence; the holder's writes come back last."""
    readable, writable, back = threading.Event(), threading.Event(), threading.Event()
    gates = {"list": readable, "read": readable, "exists": readable, "put": writable}
    for gate in gates.values():
        gate.set()
    for name, gate in gates.items():
        monkeypatch.setattr(type(folder.objects), name, behind(gate, getattr(type(folder.objects), name)))
    outcome: list[RunLease | None] = []
    looks: list[AttemptClaim] = []

    def looked(holder: AttemptClaim) -> None:
        looks.append(holder)
        if back.is_set():
            writable.set()  # not before the old heartbeat was seen once more, however slow this machine is

    with acquire_lease(folder, **QUICK):  # type: ignore[arg-type, union-attr]
        waiter = threading.Thread(
            target=lambda: outcome.append(acquire_lease(folder, stale_after=2.0, on_wait=looked, **QUICK)),  # type: ignore[arg-type]
            daemon=True,
        )
        waiter.start()
        a_while(lambda: len(looks) > 2)
        readable.clear()
        writable.clear()
        time.sleep(2.2)
        back.set()
        readable.set()
        a_while(lambda: writable.is_set() or highest_attempt(folder) > 1)
        writable.set()
        time.sleep(0.3)
        assert (waiter.is_alive(), highest_attempt(folder)) == (True, 1), "the holder was taken for gone"
        folder.publish("result.json", b"{}")
        waiter.join(60)
    assert outcome == [None]


def a_while(condition: Callable[[], bool]) -> None:
    """Wait for something that is going to happen."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def behind(gate: threading.Event, operation: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operation of a store that answers when the gate is open."""

    def gated(*args: Any, **options: Any) -> Any:
        gate.wait()
        return operation(*args, **options)

    return gated


def test_dead_is_only_said_of_what_this_machine_can_see() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        here = replace(this_process(), pid=child.pid, start=_start(child.pid))
        assert not is_known_dead(here)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is dead from now on, and a zombie
        assert is_known_dead(here), "killed and not reaped"
    assert is_known_dead(here)
    assert is_known_dead(replace(this_process(), start="1")), "another process took the number"
    for other in ({"host": "another"}, {"boot": "another"}, {"namespace": "another"}, {"start": ""}):
        assert not is_known_dead(replace(here, **other)), other


TURNS = {
    "the turn before ours": ("uid-a/1", "uid-a/2", True),
    "long before ours": ("uid-a/9", "uid-a/10", True),
    "our own turn, in another process": ("uid-a/2", "uid-a/2", False),
    "a later one": ("uid-a/3", "uid-a/2", False),
    "of another job": ("uid-b/1", "uid-a/2", False),
    "nobody gave them a turn": ("", "uid-a/2", False),
    "nobody gave us one": ("uid-a/1", "", False),
    "nobody takes turns": ("", "", False),
    "no number": ("uid-a/x", "uid-a/2", False),
}


@pytest.mark.parametrize(("theirs", "ours", "abandoned"), TURNS.values(), ids=TURNS)
def test_a_driver_whose_turn_is_over_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, theirs: str, ours: str, abandoned: bool
) -> None:
    monkeypatch.setenv(TURN_VARIABLE, ours)
    assert is_known_dead(replace(ELSEWHERE, turn=theirs)) is abandoned


def test_the_next_attempt_of_a_job_takes_over_at_once(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TURN_VARIABLE, "uid-a/1")
    killed = acquire_lease(folder, workers=2, version="test", beat_every=60)
    assert killed is not None
    monkeypatch.setenv(TURN_VARIABLE, "uid-a/2")
    lease = acquire_lease(
        folder, workers=2, version="test", on_wait=lambda _: pytest.fail("it was waited for")
    )
    assert lease is not None
    assert lease.attempt.number == 2
    with pytest.raises(InfrastructureError, match="taken over"):
        require_newest_attempt(killed.folder, killed.attempt.number)
    for each in (lease, killed):
        each.release()


def test_claims_of_before_there_were_turns_are_read() -> None:
    document = this_process().document()
    del document["turn"]
    assert ProcessIdentity.from_document(document).turn == ""


def _start(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_first_driver_gets_attempt_one_and_gives_it_back(folder: RunFolder) -> None:
    with acquire_lease(folder, **QUICK) as lease:  # type: ignore[arg-type, union-attr]
        assert lease.attempt.number == 1
        require_newest_attempt(lease.folder, lease.attempt.number)
    second = acquire_lease(folder, **QUICK)  # type: ignore[arg-type]
    assert second is not None
    assert second.attempt.number == 2
    with pytest.raises(InfrastructureError) as caught:
        require_newest_attempt(lease.folder, lease.attempt.number)
    assert caught.value.reason == "Superseded"
    second.release()


@pytest.mark.slow
def test_second_driver_waits_and_returns_when_the_result_is_there(folder: RunFolder) -> None:
    holders: list[AttemptClaim] = []
    with acquire_lease(folder, **QUICK) as lease:  # type: ignore[arg-type, union-attr]
        waiter = threading.Thread(
            target=lambda: outcome.append(
                acquire_lease(folder, on_wait=holders.append, stale_after=5.0, **QUICK)
            )  # type: ignore[arg-type]
        )
        outcome: list[RunLease | None] = []
        waiter.start()
        time.sleep(6.0)
        assert waiter.is_alive(), "a live heartbeat is never stale"
        folder.publish("result.json", b"{}")
        waiter.join(60)
    assert outcome == [None]
    assert {holder.process.pid for holder in holders} == {os.getpid()}
    assert highest_attempt(folder) == 1
    assert lease.attempt.number == 1


def test_silent_holder_of_another_machine_is_replaced_after_the_time(folder: RunFolder) -> None:
    attempt = claim_attempt(folder, 1, workers=1, version="0")
    assert attempt is not None
    folder.objects.put("attempts/1.json", replace(attempt, process=ELSEWHERE).to_bytes())
    folder.leases.put("1", b'{"state": "held"}')
    started = time.monotonic()
    lease = acquire_lease(folder, stale_after=0.4, **QUICK)  # type: ignore[arg-type]
    assert lease is not None
    lease.release()
    assert time.monotonic() - started >= 0.4, "it was not waited for"
    assert lease.attempt.number == 2


def test_lost_answer_to_a_claim_is_still_our_claim(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = type(folder.objects)
    create = cls.create
    monkeypatch.setattr(cls, "create", lambda self, path, data: create(self, path, data) and False)
    attempt = claim_attempt(folder, 1, workers=1, version="0")
    assert attempt is not None
    assert read_claim(folder, 1) == attempt
    assert claim_attempt(folder, 1, workers=1, version="0") is None


def test_released_wants_the_word(folder: RunFolder) -> None:
    assert is_released(RELEASED)
    assert not any(map(is_released, (None, b"", b"[]", b'{"state": "held"}')))


FROZEN = """
import sys, time
from seedbed.runs import acquire_lease, open_run
from seedbed.runs.attempt_claims import require_newest_attempt
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError
folder = open_run(open_storage(sys.argv[1]), sys.argv[2])
with acquire_lease(folder, workers=1, version="0", beat_every=0.05) as lease:
    print("holds", flush=True)
    sys.stdin.readline()
    try:
        require_newest_attempt(lease.folder, lease.attempt.number)
        folder.publish("result.json", b"{}")
    except InfrastructureError as error:
        print(error.reason, flush=True)
"""


@pytest.mark.slow
def test_holder_that_was_frozen_finds_out_that_it_was_replaced(tmp_path: Path, folder: RunFolder) -> None:
    command = [sys.executable, "-c", FROZEN, str(tmp_path), RUN]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as frozen:
        assert frozen.stdin is not None
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == "holds\n"
        frozen.send_signal(signal.SIGSTOP)
        heir = acquire_lease(folder, stale_after=5.0, **QUICK)  # type: ignore[arg-type]
        frozen.send_signal(signal.SIGCONT)
        frozen.stdin.write("\n")
        frozen.stdin.flush()
        assert frozen.stdout.readline() == "Superseded\n"
    assert heir is not None
    assert heir.attempt.number == 2
    require_newest_attempt(heir.folder, heir.attempt.number)
    heir.release()
    assert not folder.finished(), "the older attempt wrote nothing"


HOLDER = """
import sys, time
from seedbed.runs import acquire_lease, open_run
from seedbed.storage import open_storage
folder = open_run(open_storage(sys.argv[1]), sys.argv[2])
lease = acquire_lease(folder, workers=1, version="0", poll=0.02, beat_every=0.05)
print(lease.attempt.number if lease else "finished", flush=True)
time.sleep(600)
"""


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[object]:
    children: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path), RUN]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.slow
def test_of_two_processes_one_trains_and_the_other_takes_over_when_it_is_killed(
    spawn, folder: RunFolder
) -> None:  # type: ignore[no-untyped-def]
    first, second = spawn(), spawn()
    a_while(lambda: highest_attempt(folder) > 0)
    time.sleep(0.5)
    assert highest_attempt(folder) == 1, "the other one waits"
    holder = read_claim(folder, 1).process.pid
    victim, heir = (first, second) if holder == first.pid else (second, first)
    assert victim.poll() is None
    victim.send_signal(signal.SIGKILL)
    assert heir.stdout.readline().strip() == "2", "a dead process of this machine needs no time-out"
    assert read_claim(folder, 2).process.pid == heir.pid
