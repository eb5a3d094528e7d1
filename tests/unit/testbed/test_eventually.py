"""What waits for a state says what it saw instead."""

from __future__ import annotations

import itertools
import subprocess
from dataclasses import dataclass

import pytest

from support.eventually import LiveProcess, NotSeen, eventually


@dataclass
class Server:
    lives: int
    name: str = "etcd"

    def running(self) -> bool:
        self.lives -= 1
        return self.lives >= 0

    def tail(self) -> str:
        return "panic: disk full"


def test_what_was_accepted_is_returned() -> None:
    numbers = itertools.count()
    assert eventually(lambda: next(numbers), lambda seen: seen > 2, what="three", every=0) == 3


def test_what_was_seen_last_is_shown() -> None:
    with pytest.raises(NotSeen, match=r"^a big one: not within 0 s; seen last: 2$"):
        eventually(lambda: 2, lambda seen: seen > 2, what="a big one", seconds=0)


def test_a_server_that_ended_ends_the_wait_with_its_log() -> None:
    with pytest.raises(NotSeen, match=r"an answer: etcd ended; seen last: None\netcd: panic: disk full"):
        eventually(lambda: None, what="an answer", every=0, servers=[Server(lives=2)])


def test_a_command_that_ended_too_early_is_named_and_one_that_was_seen_is_not() -> None:
    with subprocess.Popen(["false"]) as process:
        process.wait()
        command = LiveProcess("the run", process)
        assert eventually(lambda: 7, what="a checkpoint", servers=[command]) == 7
        with pytest.raises(NotSeen, match=r"a checkpoint: the run ended; seen last: 0\nthe run: exit code 1"):
            eventually(lambda: 0, what="a checkpoint", servers=[command])
