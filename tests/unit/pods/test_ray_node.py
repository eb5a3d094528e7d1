"""A node of Ray gets more than one try, and no half of one is left behind."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from seedbed.pods.ray_node import start_with_retries
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed_api.errors import InfrastructureError

HALF = """
import os, subprocess, sys, threading
from seedbed.pods.ray_node import start_with_retries
pids = []
def start():
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the try before left something behind"
    pids.append(subprocess.Popen(["sleep", "600"]).pid)
    if len(pids) < 3:
        raise Exception("timed out during startup")
    return pids
start_with_retries(start, tries=3, pause=0.0, stopping=threading.Event())
os.kill(pids[-1], 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
def test_what_a_failed_try_left_is_gone_before_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", HALF], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("trying again") == 2


def test_after_the_last_try_it_is_trouble_of_the_machine() -> None:
    def start() -> None:
        raise OSError("no port\n is free")

    with pytest.raises(
        InfrastructureError, match="Ray did not start: no port is free; the attempt"
    ) as caught:
        start_with_retries(start, tries=2, pause=0.0, stopping=threading.Event(), clear=lambda: None)
    assert caught.value.reason == "RayStartFailed"


def test_a_try_that_knows_that_another_is_of_no_use_is_the_last() -> None:
    tries, cleared = [], []

    def start() -> None:
        tries.append(1)
        raise InfrastructureError("RayStartFailed", "the driver is lost")

    with pytest.raises(InfrastructureError, match="the driver is lost"):
        start_with_retries(
            start, tries=5, pause=600.0, stopping=threading.Event(), clear=lambda: cleared.append(1)
        )
    assert (tries, cleared) == ([1], [1])


def test_a_stop_between_two_tries_is_obeyed() -> None:
    stopping = threading.Event()

    def start() -> None:
        stopping.set()
        raise OSError

    with pytest.raises(StopRequested):
        start_with_retries(start, tries=5, pause=600.0, stopping=stopping, clear=lambda: None)
