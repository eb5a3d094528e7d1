"""Ray Train around the training: how many workers, what they are given, how often a group is restarted."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from seedbed.runtime.control import ActorLink, Board, LocalLink
from seedbed.training.programs import TrainingProgram
from seedbed.training.progress import Progress
from seedbed_api.errors import InfrastructureError, SeedbedError

logger = logging.getLogger(__name__)

Watch = Callable[[Progress], None]
Look = Callable[[], tuple[Progress | None, SeedbedError | None]]

_LOOK_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRange:
    """How many ranks may train at the same time."""

    least: int
    most: int

    @property
    def elastic(self) -> bool:
        """Say whether the number may change while training."""
        return self.least < self.most


def fit(
    program: TrainingProgram,
    *,
    workers: WorkerRange,
    restarts: int,
    watch: Watch,
    stopping: threading.Event,
) -> None:
    """Train to the end, or until told to stop; Ray must run unless one worker trains in this process.

    `restarts` bounds how often a lost worker group is replaced. Raises the failure that a worker told of, or
    `InfrastructureError` where the group could not be kept alive.
    """
    if trains_in_process(program, workers):
        _fit_here(program, watch=watch, stopping=stopping)
    else:
        _fit_on_ray(program, workers=workers, restarts=restarts, watch=watch, stopping=stopping)


def trains_in_process(program: TrainingProgram, workers: WorkerRange) -> bool:
    """Say whether the driver's own process trains: one worker needs no group."""
    return workers.most == 1 and program.feed == "Local"


def _fit_here(program: TrainingProgram, *, watch: Watch, stopping: threading.Event) -> None:
    from seedbed.training.working import work

    board = Board()
    with _watching(board.look, board.stop, watch=watch, stopping=stopping), _scratch() as folder:
        _trainer(lambda _: work(program, LocalLink(board)), {}, workers=0, restarts=0, folder=folder).fit()


def _fit_on_ray(
    program: TrainingProgram, *, workers: WorkerRange, restarts: int, watch: Watch, stopping: threading.Event
) -> None:
    import ray
    from ray.train.v2.api.exceptions import TrainingFailedError

    board: Any = ray.remote(Board).options(num_cpus=0, max_concurrency=8).remote()
    size = (workers.least, workers.most) if workers.elastic else workers.most
    config = {"program": program, "board": board}

    def look() -> tuple[Progress | None, SeedbedError | None]:
        found: tuple[Progress | None, SeedbedError | None] = ray.get(board.look.remote())
        return found

    with (
        _watching(look, lambda: ray.get(board.stop.remote()), watch=watch, stopping=stopping),
        _scratch() as f,
    ):
        try:
            _trainer(
                _work_on_ray, config, workers=size, restarts=restarts, folder=f, device=program.device
            ).fit()
        except TrainingFailedError as error:
            raise look()[1] or _lost(error, ray.get(board.excused.remote())) from error
        failure = look()[1]
        if failure is not None:
            raise failure


def _work_on_ray(config: dict[str, Any]) -> None:
    from seedbed.training.working import work

    work(config["program"], ActorLink(config["board"]))


def _trainer(
    loop: Callable[[dict[str, Any]], None],
    config: dict[str, Any],
    *,
    workers: int | tuple[int, int],
    restarts: int,
    folder: str,
    device: str = "cpu",
) -> Any:
    from ray.train.torch import TorchConfig

    from seedbed.runtime.groups import CpuGroup
    from seedbed.runtime.trainers import LeanTrainer

    # its loggers speak of every restart and of local mode; what matters is told by the driver
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig

    cuda = device == "cuda"
    trainer: Any = LeanTrainer  # its annotations are those of the version before
    return trainer(
        loop,
        train_loop_config=config,
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl", timeout_s=600) if cuda else CpuGroup(),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=cuda and workers != 0, elastic_resize_monitor_interval_s=10.0
        ),
        run_config=RunConfig(
            name="training", storage_path=folder, failure_config=FailureConfig(max_failures=restarts)
        ),
    )


@contextmanager
def _watching(
    look: Look,
    stop: Callable[[], None],
    *,
    watch: Watch,
    stopping: threading.Event,
) -> Iterator[None]:
    """Hand new progress to `watch`, and the wish to stop to the training, from a thread of its own."""
    over = threading.Event()

    def follow() -> None:
        told = False
        while not over.wait(_LOOK_SECONDS):
            if stopping.is_set() and not told:
                stop()
                told = True
            _look_once(look, watch)

    thread = threading.Thread(target=follow, name="seedbed-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)
        _look_once(look, watch)


def _look_once(look: Look, watch: Watch) -> None:
    """Hand new progress on; trouble in telling of it must not keep a stop from being delivered."""
    try:
        progress, _ = look()
        if progress is not None:
            watch(progress)
    except SeedbedError as error:
        logger.warning("progress was not recorded: %s", error.message)


@contextmanager
def _scratch() -> Iterator[str]:
    """Ray Train wants a folder of its own; nothing that matters is kept there."""
    folder = tempfile.mkdtemp(prefix="seedbed-train-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lost(error: Exception, told: SeedbedError | None) -> SeedbedError:
    """Return why the group is gone for good: what a worker told last, else what Ray says."""
    if told is not None:
        return told
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[-1] if lines else type(error).__name__
    return InfrastructureError(
        "WorkersLost",
        f"the worker group failed more often than it may be restarted; last cause: {cause[:300]}",
    )
