"""Recomputation by several worker processes on this machine, which exchange over loopback, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from seedbed.replay.recomputation import Recomputation, RecomputationTask, Tell, recompute
from seedbed.startup.ray_environment import clean_environment
from seedbed_api.errors import InfrastructureError, SeedbedError

_PEER_SECONDS = 600.0
_CAUSE_SECONDS = 10.0
"""How long to wait for the worker that failed first to say why, once another has lost it."""


def recompute_in_group(task: RecomputationTask, *, workers: int, tell: Tell) -> list[Recomputation]:
    """Recompute with `workers` processes; answers in rank order.

    Raises what a worker raised, InfrastructureError WorkersLost where one died.
    """
    with (
        tempfile.TemporaryDirectory(prefix="seedbed-verify-") as folder,
        _workers(task, workers, folder) as pipes,
    ):
        answers: dict[int, Recomputation] = {}
        lost = ""
        patience = _PEER_SECONDS
        while pipes:
            heard = _next(pipes, patience)
            if heard is None:
                break
            rank, message = heard
            if isinstance(message, int):
                tell(message)
                continue
            del pipes[rank]
            if isinstance(message, SeedbedError):
                raise message
            if isinstance(message, Recomputation):
                answers[rank] = message
            else:
                # the peers of a worker that failed fail too; the one that has a reason is the one to hear
                lost, patience = lost or f"worker {rank}: {message}", _CAUSE_SECONDS
    if lost or len(answers) < workers:
        raise InfrastructureError(
            "WorkersLost", f"the replay was given up: {lost or 'a worker does not answer'}"
        )
    return [answers[rank] for rank in range(workers)]


def _next(pipes: dict[int, Connection], patience: float) -> tuple[int, Any] | None:
    """Return rank and message of whoever speaks next, None where all are silent for too long."""
    ranks = {pipe: rank for rank, pipe in pipes.items()}
    ready = wait(list(ranks), timeout=patience)
    if not ready:
        return None
    pipe = ready[0]
    assert isinstance(pipe, Connection)
    try:
        return ranks[pipe], pipe.recv()
    except EOFError:
        return ranks[pipe], "it died"


@contextmanager
def _workers(task: RecomputationTask, workers: int, folder: str) -> Iterator[dict[int, Connection]]:
    """Start the processes; whatever happens, none is left."""
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    pipes: dict[int, Connection] = {}
    try:
        for rank in range(workers):
            here, there = context.Pipe(duplex=False)
            arguments = (rank, workers, str(Path(folder) / "rendezvous"), there, task)
            process: BaseProcess = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            there.close()
            processes.append(process)
            pipes[rank] = here
        yield pipes
    finally:
        for process in processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.kill()
                process.join()


def _work(rank: int, world: int, rendezvous: str, pipe: Connection, task: RecomputationTask) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends us
    clean_environment(os.environ, {"GLOO_SOCKET_IFNAME": "lo"})
    pipe.send(_answer(rank, world, rendezvous, pipe, task))
    pipe.close()
    os._exit(0)  # gloo's tear-down may hang


def _answer(rank: int, world: int, rendezvous: str, pipe: Connection, task: RecomputationTask) -> object:
    import torch.distributed as dist

    from seedbed.arithmetic.subtree_exchange import PointToPointExchange

    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{rendezvous}",
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=_PEER_SECONDS),
        )
        return recompute(task, PointToPointExchange(task.program.device), pipe.send)
    except SeedbedError as error:
        return error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
