"""Recomputation with several worker processes on this machine; they exchange over loopback, without Ray.

Each process gets the key of the group over a pipe that only this command and its processes hold.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
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

from seedbed.arithmetic.sealed_messages import KEY_BYTES
from seedbed.replay.recomputation import ProgressCallback, Recomputation, RecomputationTask, recompute
from seedbed.startup.ray_environment import clean_environment
from seedbed_api.errors import InfrastructureError, SeedbedError

_PEER_SECONDS = 600.0
_CAUSE_SECONDS = 10.0
"""Timeout for the error of the worker that failed first, once another worker has lost its connection."""


def recompute_in_group(
    task: RecomputationTask, *, workers: int, on_progress: ProgressCallback
) -> list[Recomputation]:
    """Recompute with `workers` processes; return the results in rank order.

    Raises the error of a worker, or InfrastructureError WorkersLost if one died.
    """
    with (
        tempfile.TemporaryDirectory(prefix="seedbed-verify-") as folder,
        _workers(task, workers, folder) as pipes,
    ):
        results: dict[int, Recomputation] = {}
        lost = ""
        timeout = _PEER_SECONDS
        while pipes:
            received = _receive(pipes, timeout)
            if received is None:
                break
            rank, message = received
            if isinstance(message, int):
                on_progress(message)
                continue
            del pipes[rank]
            if isinstance(message, SeedbedError):
                raise message
            if isinstance(message, Recomputation):
                results[rank] = message
            else:
                # the peers of a failed worker fail too, so wait for the worker that sends a SeedbedError
                lost, timeout = lost or f"worker {rank}: {message}", _CAUSE_SECONDS
    if lost or len(results) < workers:
        raise InfrastructureError(
            "WorkersLost", f"the replay was given up: {lost or 'a worker does not answer'}"
        )
    return [results[rank] for rank in range(workers)]


def _receive(pipes: dict[int, Connection], timeout: float) -> tuple[int, Any] | None:
    """Return rank and message of the next worker that sends one, None after the timeout."""
    ranks = {pipe: rank for rank, pipe in pipes.items()}
    ready = wait(list(ranks), timeout=timeout)
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
    """Start the processes, and kill those that are left at the end."""
    context = multiprocessing.get_context("spawn")
    key = secrets.token_bytes(KEY_BYTES)
    processes: list[BaseProcess] = []
    pipes: dict[int, Connection] = {}
    try:
        for rank in range(workers):
            parent_end, child_end = context.Pipe(duplex=False)
            arguments = (rank, workers, str(Path(folder) / "rendezvous"), child_end, task, key)
            process: BaseProcess = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            child_end.close()
            processes.append(process)
            pipes[rank] = parent_end
        yield pipes
    finally:
        for process in processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.kill()
                process.join()


def _work(
    rank: int, world: int, rendezvous: str, pipe: Connection, task: RecomputationTask, key: bytes
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and ends this process
    clean_environment(os.environ, {"GLOO_SOCKET_IFNAME": "lo"})
    pipe.send(_result(rank, world, rendezvous, pipe, task, key))
    pipe.close()
    os._exit(0)  # the shutdown of gloo may hang


def _result(
    rank: int, world: int, rendezvous: str, pipe: Connection, task: RecomputationTask, key: bytes
) -> object:
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
        return recompute(task, PointToPointExchange(task.program.device, key=key), pipe.send)
    except SeedbedError as error:
        return error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
