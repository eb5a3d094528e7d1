"""Where a run computes besides the driver's own process: one port, for a Ray of this machine or of pods."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from seedbed.training.worker_config import WorkerConfig

P = ParamSpec("P")
T = TypeVar("T")


class StopRequested(Exception):  # noqa: N818 - a way out, not a failure
    """The driver was told to stop while it waited for something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRange:
    """How many ranks may train at the same time."""

    least: int
    most: int

    @property
    def elastic(self) -> bool:
        """Say whether the number may change while training."""
        return self.least < self.most


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerPlacement:
    """How ranks are placed."""

    in_process: bool = False
    """The driver's own process is the one rank; no Ray is needed."""
    bare: bool = False
    """Without Ray Train around that one rank: the driver is itself a trial, one of many."""
    gpus_per_rank: int = 0


class TaskRunner(Protocol):
    """A machine such as those that train, or a process of it."""

    def compute(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns on a machine such as those that train; failures arrive as they are.

        Waits for such a machine; raises `StopRequested` when told to stop meanwhile.
        """


class Cluster(TaskRunner, Protocol):
    """What the driver needs of the machines that train."""

    def training(
        self, program: WorkerConfig, workers: WorkerRange
    ) -> AbstractContextManager[WorkerPlacement]:
        """Keep what ranks need running, from before the first group to after the last one."""

    def available_ranks(self) -> int:
        """Return how many ranks could train now, as of a moment ago."""
