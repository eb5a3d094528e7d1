"""Real gloo processes, started once per worker count and reused over cases; no Ray, no cluster.

A group takes one task at a time and answers with what every worker found. Tasks are functions of this module's
neighbours, called as task(exchange, argument) in each process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from seedbed.arithmetic.sealed_messages import KEY_BYTES
from seedbed.arithmetic.subtree_exchange import Exchange, PointToPointExchange, SingleProcessExchange, greet
from seedbed.arithmetic.torch_determinism import enforce_determinism

Task = Callable[[Exchange, Any], Any]
ANSWER_SECONDS = 400.0


class WorkerFailedError(Exception):
    """A worker raised; carries its traceback."""


class WorkerGroup:
    """W processes with one exchange between them."""

    def __init__(
        self, world: int, *, folder: Path, timeout_seconds: float = 60.0, backend: str = "gloo"
    ) -> None:
        self.world = world
        context = multiprocessing.get_context("forkserver")
        # one import of torch for all workers; nothing else runs in the server, so forking it is safe
        context.set_forkserver_preload(["torch", "torch.distributed", "support.gloo.tasks"])
        rendezvous, key = str(folder / "rendezvous"), secrets.token_bytes(KEY_BYTES)
        self._pipes: list[Connection] = []
        self.processes = []
        for rank in range(world):
            here, there = context.Pipe()
            arguments = (rank, world, rendezvous, there, timeout_seconds, backend, key)
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self.processes.append(process)

    def run(self, task: Task, argument: Any) -> list[Any]:
        """Run a task on every worker; answers in rank order. Raises WorkerFailedError with the first traceback."""
        self.send(task, argument)
        answers = [self.answer(rank) for rank in range(self.world)]
        failures = [str(answer) for answer in answers if isinstance(answer, WorkerFailedError)]
        if failures:
            raise WorkerFailedError("\n".join(failures))
        return answers

    def send(self, task: Task, argument: Any) -> None:
        """Hand a task to every worker without waiting."""
        for pipe in self._pipes:
            pipe.send((task, argument))

    def answer(self, rank: int) -> Any:
        """Wait for one worker's answer, which may be a WorkerFailedError. Raises EOFError if it is dead."""
        assert self._pipes[rank].poll(ANSWER_SECONDS), f"worker {rank} of {self.world} does not answer"
        return self._pipes[rank].recv()

    def close(self) -> None:
        """End the workers: by request, or by kill when one does not listen."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process in self.processes:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()


@contextlib.contextmanager
def worker_group(
    world: int, *, timeout_seconds: float = 60.0, backend: str = "gloo"
) -> Iterator[WorkerGroup]:
    """A group for the time of a with block."""
    with tempfile.TemporaryDirectory() as folder:
        group = WorkerGroup(world, folder=Path(folder), timeout_seconds=timeout_seconds, backend=backend)
        try:
            yield group
        finally:
            group.close()


def _work(
    rank: int,
    world: int,
    rendezvous: str,
    pipe: Connection,
    timeout_seconds: float,
    backend: str,
    key: bytes,
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    enforce_determinism(threads=1, fill_uninitialised=True)
    exchange: Exchange = SingleProcessExchange()
    if backend == "nccl":
        torch.cuda.set_device(rank)
    if world > 1 or backend == "nccl":
        dist.init_process_group(
            backend,
            store=dist.FileStore(rendezvous, world),
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=timeout_seconds),
        )
        if backend == "gloo":
            greet(key, seconds=timeout_seconds)
        exchange = PointToPointExchange("cuda" if backend == "nccl" else "cpu", key=key)
    while (message := pipe.recv()) is not None:
        task, argument = message
        pipe.send(_answered(task, exchange, argument))
    # no destroy_process_group: gloo's tear-down may hang, and the process ends here anyway
    os._exit(0)


def _answered(task: Task, exchange: Exchange, argument: Any) -> Any:
    try:
        with torch.random.fork_rng(devices=[]):
            return task(exchange, argument)
    except Exception:
        return WorkerFailedError(f"worker {exchange.rank} of {exchange.world}\n{traceback.format_exc()}")
