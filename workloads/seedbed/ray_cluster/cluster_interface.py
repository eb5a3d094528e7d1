"""The interface between the driver and the machines that train: a local Ray, a Ray of pods, one process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from seedbed_api.pod_contract.pod_environment import GpuExchange

if TYPE_CHECKING:
    from seedbed.training.worker_config import WorkerConfig

P = ParamSpec("P")
T = TypeVar("T")


class StopRequested(Exception):  # noqa: N818 - an early exit, not a failure
    """A stop was requested while the driver waited for something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRange:
    """The bounds of the number of ranks that train at the same time."""

    least: int
    most: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerPlacement:
    """Where the ranks run."""

    in_process: bool = False
    """One rank, in the driver's process."""
    without_ray_train: bool = False
    """That rank runs without Ray Train: the driver is a trial of a sweep itself."""
    gpus_per_rank: int = 0
    gpu_exchange: GpuExchange = "Sealed"
    """How ranks on GPUs exchange; sealed where strangers may reach their ports."""


class TaskRunner(Protocol):
    """Runs functions on a machine of the kind that trains."""

    def run_task(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function on such a machine and return its result; a SeedbedError arrives unchanged.

        Waits until there is such a machine. Raises `StopRequested` when a stop is requested meanwhile.
        """


class Cluster(TaskRunner, Protocol):
    """The machines that train."""

    def provision_workers(
        self, program: WorkerConfig, workers: WorkerRange
    ) -> AbstractContextManager[WorkerPlacement]:
        """Provide what ranks run on, from before the first worker group to after the last one."""

    def available_ranks(self) -> int:
        """Return how many ranks could train now; the number may be a moment old."""
