"""Train one recipe with one, two and three workers, and once resumed with fewer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from seedbed.training.worker_config import WorkerConfig
from support.gloo.worker_group import WorkerGroup, worker_group
from support.runs.small_run import as_worker

Groups: TypeAlias = Mapping[int, WorkerGroup]
Trainer: TypeAlias = Callable[[WorkerConfig], Any]


@contextmanager
def worker_groups() -> Iterator[Groups]:
    """Yield a group of workers for each of the counts 1, 2 and 3."""
    with worker_group(1) as one, worker_group(2) as two, worker_group(3) as three:
        yield {1: one, 2: two, 3: three}


def trainers(groups: Groups, *, pause_after: int) -> dict[str, Trainer]:
    """Return the ways to train, by name: `one` is the one that the others must agree with."""

    def with_workers(world: int) -> Trainer:
        return lambda program: groups[world].run(as_worker, program)

    def resumed(program: WorkerConfig) -> None:
        groups[3].run(as_worker, dataclasses.replace(program, pause_after=pause_after))
        groups[2].run(as_worker, dataclasses.replace(program, attempt=2))

    return {"one": with_workers(1), "two": with_workers(2), "three": with_workers(3), "resumed": resumed}
