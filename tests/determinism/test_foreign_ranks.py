"""Nobody joins a group who does not have its key: foreign ranks, changed and repeated messages, strangers at ports.

Real gloo processes. A foreign message ends in an error that names the rank; it is never added to a sum.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest

from support.gloo import foreign_bytes
from support.gloo.foreign_bytes import WAYS
from support.gloo.worker_group import WorkerFailedError, worker_group

RIGHT = [6.0, 12.0, 18.0]


def test_a_group_with_one_key_gives_the_sums() -> None:
    for world in (2, 3):
        with worker_group(world) as group:
            assert group.run(foreign_bytes.total_of_steps, None) == [RIGHT] * world


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_foreign_rank_is_named_and_nothing_of_it_is_used(way: str, world: int) -> None:
    with worker_group(world, timeout_seconds=10) as group:
        errors = group.run(foreign_bytes.error_of, (way, 1))
    assert not [error for error in errors if error == str(RIGHT)], "a rank has not noticed"
    naming = "from worker 1 to worker 0 was not sealed with the key of this group: another process sent or"
    assert naming in errors[0], errors


@pytest.mark.parametrize(
    ("way", "words"),
    [("another key", "message 0 from worker 1 to worker 0 was not sealed"), ("silent", "Timed out waiting 3000ms")],
)  # fmt: skip
def test_a_foreign_rank_is_noticed_when_the_group_forms(way: str, words: str) -> None:
    """The timeout of the group is ten minutes; nobody waits so long for a stranger who says nothing."""
    with worker_group(2, timeout_seconds=60) as group:
        errors = group.run(foreign_bytes.greeting_error_of, (way, 1))
    assert errors[0].startswith("worker 0 of 2 has not met all others: ")
    assert words in errors[0]


def test_without_the_seal_what_a_foreign_rank_sends_would_be_added() -> None:
    """The mutation: the test before this one can fail."""
    with worker_group(2, timeout_seconds=10) as group:
        sums = group.run(foreign_bytes.sums_without_a_seal, 1)
    assert sums[0] != RIGHT


def test_strangers_at_the_port_of_a_rank_change_nothing() -> None:
    with worker_group(2, timeout_seconds=60) as group:
        ports = group.run(foreign_bytes.ports_of_gloo, None)
        assert all(ports), "a rank listens nowhere"
        with foreign_bytes.connected(
            ports[0][0], [*foreign_bytes.guesses(64), b"", b"GET / HTTP/1.1\r\n\r\n"]
        ):
            assert group.run(foreign_bytes.total_of_steps, None) == [RIGHT] * 2
        assert group.run(foreign_bytes.total_of_steps, None) == [RIGHT] * 2


def test_strangers_who_connect_while_a_group_forms_can_end_it_and_no_more() -> None:
    ending, connections = threading.Event(), 0

    def connect_everywhere() -> None:
        nonlocal connections
        while not ending.is_set():
            for port in foreign_bytes.ports_below(os.getpid()):
                with suppress(OSError), foreign_bytes.connected(port, foreign_bytes.guesses(16)):
                    connections += 16
                    ending.wait(0.2)

    strangers = [threading.Thread(target=connect_everywhere) for _ in range(2)]
    for stranger in strangers:
        stranger.start()
    try:
        with worker_group(3, timeout_seconds=10) as group:
            sums = group.run(foreign_bytes.total_of_steps, None)
    except (WorkerFailedError, OSError, EOFError):
        sums = [RIGHT] * 3  # there is no sum, which is allowed
    finally:
        ending.set()
        for stranger in strangers:
            stranger.join()
    assert sums == [RIGHT] * 3
    assert connections > 0, "nobody connected"
