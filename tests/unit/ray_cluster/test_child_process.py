"""Work in a process of its own: what it returns and raises; and that a driver of sweeps needs no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from seedbed.ray_cluster.local_ray import ChildProcess
from seedbed_api.errors import InfrastructureError, UserError


def whose(process: int) -> tuple[bool, int]:
    return process == os.getpid(), os.getpid()


def refuse() -> None:
    raise UserError("InvalidSpec", "spec.device: there is no GPU here")


def fall() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_it_answers_and_is_gone() -> None:
    same, pid = ChildProcess().run_task(whose, os.getpid())
    assert not same
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_refusal_arrives_as_it_was() -> None:
    with pytest.raises(UserError, match="no GPU") as caught:
        ChildProcess().run_task(refuse)
    assert caught.value.reason == "InvalidSpec"


def test_one_that_is_killed_is_nobodys_fault() -> None:
    with pytest.raises(InfrastructureError, match="whether memory ran out"):
        ChildProcess().run_task(fall)


WITHOUT_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("torch is not for the driver of a sweep")
sys.meta_path.insert(0, NoTorch())
import seedbed.sweeps.sweep_driver, seedbed.sweeps.tune_runner, seedbed.sweeps.finished_sweep, seedbed.sweeps.sweep_driver_pod
import seedbed.runs.run_retention
try:
    import seedbed.arithmetic.evaluation
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_what_drives_a_sweep_needs_no_torch() -> None:
    """The check of the check: evaluation needs it."""
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "torch is not for the driver of a sweep\n"
