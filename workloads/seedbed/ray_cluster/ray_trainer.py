"""Ray Train around the training: how many workers, what they are given, how often a group is restarted."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from seedbed.periodic_thread import PeriodicThread
from seedbed.ray_cluster.cluster_interface import WorkerPlacement, WorkerRange
from seedbed.ray_cluster.progress_board import InProcessLink, ProgressBoard, RayActorLink
from seedbed.startup.import_path import look_where
from seedbed.training.run_progress import RunProgress
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, SeedbedError

logger = logging.getLogger(__name__)

Watch = Callable[[RunProgress], None]
Look = Callable[[], tuple[RunProgress | None, SeedbedError | None]]

_LOOK_SECONDS = 0.25


def fit(
    program: WorkerConfig,
    *,
    workers: WorkerRange,
    placement: WorkerPlacement,
    restarts: int,
    watch: Watch,
    stopping: threading.Event,
) -> None:
    """Train to the end, or until told to stop; Ray must run unless one worker trains in this process.

    `restarts` bounds how often a lost worker group is replaced. Raises the failure that a worker told of, or
    `InfrastructureError` where the group could not be kept alive.
    """
    if placement.bare:
        _fit_bare(program, watch=watch, stopping=stopping)
    elif placement.in_process:
        _fit_here(program, watch=watch, stopping=stopping)
    else:
        _OnRay(program, workers=workers, placement=placement, restarts=restarts).fit(watch, stopping)


def _fit_here(program: WorkerConfig, *, watch: Watch, stopping: threading.Event) -> None:
    from ray.train import ScalingConfig

    from seedbed.ray_cluster.torch_trainer import MinimalTorchTrainer
    from seedbed.training.worker import run_worker

    board = ProgressBoard()
    with _watching(board.look, board.stop, watch=watch, stopping=stopping), _scratch() as folder:
        trainer: Any = MinimalTorchTrainer  # its annotations are those of the version before
        _quiet()
        trainer(
            lambda _: run_worker(program, InProcessLink(board)),
            train_loop_config={},
            scaling_config=ScalingConfig(num_workers=0),
            run_config=_run_config(folder, restarts=0),
        ).fit()


def _fit_bare(program: WorkerConfig, *, watch: Watch, stopping: threading.Event) -> None:
    from seedbed.training.worker import run_worker

    board = ProgressBoard()
    with _watching(board.look, board.stop, watch=watch, stopping=stopping):
        run_worker(program, InProcessLink(board))


class _OnRay:
    """One training by worker groups of Ray Train, whose sizes are ours to decide."""

    def __init__(
        self, program: WorkerConfig, *, workers: WorkerRange, placement: WorkerPlacement, restarts: int
    ) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._program, self._workers, self._placement = program, workers, placement
        self._restarts = restarts
        here = ray.get_runtime_context().get_node_id()
        beside_the_driver = NodeAffinitySchedulingStrategy(node_id=here, soft=False)
        options = {"num_cpus": 0, "max_concurrency": 8, "scheduling_strategy": beside_the_driver}
        self._board: Any = ray.remote(ProgressBoard).options(**options).remote()

    def fit(self, watch: Watch, stopping: threading.Event) -> None:
        """Train; see the function of this name."""
        from ray.exceptions import RayError
        from ray.train.v2.api.exceptions import TrainingFailedError

        from seedbed.ray_cluster.torch_trainer import TrainingAbandoned

        with _watching(self._look, self._stop, watch=watch, stopping=stopping), _scratch() as folder:
            try:
                self._trainer(folder, stopping).fit()
            except TrainingAbandoned:
                return
            except TrainingFailedError as error:
                raise self._look()[1] or _lost(error, self._ask(self._board.excused)) from error
            except RayError as error:
                raise _ray_ended(error) from error
            failure = self._look()[1]
            if failure is not None:
                raise failure

    def _look(self) -> tuple[RunProgress | None, SeedbedError | None]:
        found: tuple[RunProgress | None, SeedbedError | None] = self._ask(self._board.look)
        return found

    def _stop(self) -> None:
        self._ask(self._board.stop)

    def _idle(self) -> bool:
        return bool(self._ask(self._board.waiting))

    def _ask(self, method: Any) -> Any:
        import ray
        from ray.exceptions import RayError

        try:
            return ray.get(method.remote())
        except RayError as error:
            raise _ray_ended(error) from error

    def _trainer(self, folder: str, stopping: threading.Event) -> Any:
        from ray.train.torch import TorchConfig

        from seedbed.ray_cluster.elastic_policy import ElasticScalingPolicy
        from seedbed.ray_cluster.process_group import GlooConfig
        from seedbed.ray_cluster.torch_trainer import MinimalTorchTrainer

        _quiet()
        cuda = self._program.device == "cuda"
        scaling = _scaling(self._workers, gpus=self._placement.gpus_per_rank)
        trainer: Any = MinimalTorchTrainer  # its annotations are those of the version before
        return trainer(
            _work_on_ray,
            train_loop_config={"program": self._program, "board": self._board, "modules": sys.path},
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl", timeout_s=600) if cuda else GlooConfig(),
            scaling_config=scaling,
            run_config=_run_config(folder, restarts=self._restarts),
            policy=ElasticScalingPolicy(
                scaling,
                workers=self._workers,
                leaves=self._program.arithmetic.leaves,
                board=self._board,
            ),
            abandoned=lambda: stopping.is_set() and self._idle(),
        )


def _work_on_ray(config: dict[str, Any]) -> None:
    from ray.train import get_context

    from seedbed.training.worker import run_worker

    look_where(config["modules"])
    link = RayActorLink(config["board"], rank=get_context().get_world_rank())
    if not run_worker(config["program"], link):
        link.rest()


def _scaling(workers: WorkerRange, *, gpus: int) -> Any:
    from ray.train import ScalingConfig

    per_rank = {"CPU": 1.0} | ({"GPU": float(gpus)} if gpus else {})
    return ScalingConfig(num_workers=workers.most, use_gpu=gpus > 0, resources_per_worker=per_rank)


def _run_config(folder: str, *, restarts: int) -> Any:
    from ray.train.v2.api.config import FailureConfig, RunConfig

    return RunConfig(
        name="training", storage_path=folder, failure_config=FailureConfig(max_failures=restarts)
    )


def _quiet() -> None:
    """Silence loggers that speak of every restart and of local mode; what matters is told by the driver."""
    import ray.train  # noqa: F401 - it sets its loggers when it is imported

    logging.getLogger("ray.train").setLevel(logging.ERROR)


@contextmanager
def _watching(
    look: Look,
    stop: Callable[[], None],
    *,
    watch: Watch,
    stopping: threading.Event,
) -> Iterator[None]:
    """Hand new progress to `watch`, and the wish to stop to the training, from a thread of its own."""
    delivered = False

    def poll() -> None:
        nonlocal delivered
        delivered = delivered or (stopping.is_set() and _delivered(stop))
        _look_once(look, watch)

    thread = PeriodicThread(poll, seconds=_LOOK_SECONDS, name="seedbed-progress")
    thread.start()
    try:
        yield
    finally:
        thread.stop(timeout=5)
        _look_once(look, watch)


def _delivered(stop: Callable[[], None]) -> bool:
    """Ask the training to stop; where it cannot be reached, it is asked again."""
    try:
        stop()
    except SeedbedError as error:
        logger.warning("the wish to stop was not delivered: %s", error.message)
        return False
    return True


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


def _ray_ended(error: Exception) -> InfrastructureError:
    """Return the failure of a Ray that broke down beside the driver; the run goes on with another one."""
    line = str(error).strip().splitlines()[0]
    return InfrastructureError("RayUnhealthy", f"Ray broke down under the training: {line[:300]}")


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
