"""Train with Ray Train: a trainer without the actors we do not need, its configuration, its failures.

Uses names that Ray 2.60 keeps private (callbacks, controller); the bounds of the version in pyproject.toml
name that release.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._common.constants import RAY_WARN_BLOCKING_GET_INSIDE_ASYNC_ENV_VAR
from ray.exceptions import RayError
from ray.train import ScalingConfig, get_context
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import ScalingPolicy
from ray.train.v2.api.config import FailureConfig, RunConfig
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from seedbed.periodic_thread import PeriodicThread
from seedbed.ray_cluster.cluster_interface import WorkerPlacement, WorkerRange
from seedbed.ray_cluster.elastic_policy import ElasticScalingPolicy
from seedbed.ray_cluster.gpu_process_group import GpuGroupConfig
from seedbed.ray_cluster.process_group import GlooConfig, take_group_key
from seedbed.ray_cluster.progress_board import InProcessLink, ProgressBoard, RayActorLink
from seedbed.startup.import_path import extend_import_path
from seedbed.startup.ray_environment import NODE_LABEL
from seedbed.training.run_progress import RunProgress
from seedbed.training.worker import run_worker
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, SeedbedError

logger = logging.getLogger(__name__)

OnProgress = Callable[[RunProgress], None]
ReadBoard = Callable[[], tuple[RunProgress | None, SeedbedError | None]]

_POLL_SECONDS = 0.25

_UNUSED_CALLBACKS = (
    DatasetsCallback,  # an actor that splits datasets; our feeds open their own
    PlacementGroupCleanerCallback,  # an actor for clusters that outlive the driver; ours ends with it
)


def train_workers(
    program: WorkerConfig,
    *,
    workers: WorkerRange,
    placement: WorkerPlacement,
    restarts: int,
    on_progress: OnProgress,
    stopping: threading.Event,
) -> None:
    """Train to the end, or until a stop is requested; Ray must run unless the one rank is in this process.

    `restarts` bounds how often a lost worker group is replaced. Raises the failure that a worker reported, or
    `InfrastructureError` where the group could not be kept alive.
    """
    if not placement.in_process:
        _RayTraining(program, workers=workers, placement=placement, restarts=restarts).run(
            on_progress, stopping
        )
        return
    board = ProgressBoard()
    with _polling(board.read, board.request_stop, on_progress=on_progress, stopping=stopping):
        if placement.without_ray_train:
            run_worker(program, InProcessLink(board))
        else:
            _train_in_process(program, board)


def _train_in_process(program: WorkerConfig, board: ProgressBoard) -> None:
    """Train one rank in this process by Ray Train's local mode."""
    trainer: Any = MinimalTorchTrainer  # its annotations are those of the version before
    with _temporary_folder() as folder:
        _silence_ray_train()
        trainer(
            lambda _: run_worker(program, InProcessLink(board)),
            train_loop_config={},
            scaling_config=ScalingConfig(num_workers=0),
            run_config=_run_config(folder, restarts=0),
        ).fit()


class _RayTraining:
    """One training by worker groups of Ray Train, whose sizes `ElasticScalingPolicy` decides."""

    def __init__(
        self, program: WorkerConfig, *, workers: WorkerRange, placement: WorkerPlacement, restarts: int
    ) -> None:
        self._program, self._workers, self._placement = program, workers, placement
        self._restarts = restarts
        own_node = NodeAffinitySchedulingStrategy(node_id=_own_node_id(), soft=False)
        options = {"num_cpus": 0, "max_concurrency": 8, "scheduling_strategy": own_node}
        self._board: Any = ray.remote(ProgressBoard).options(**options).remote()

    def run(self, on_progress: OnProgress, stopping: threading.Event) -> None:
        """Train; see `train_workers`."""
        polling = _polling(self._read_board, self._stop, on_progress=on_progress, stopping=stopping)
        with polling, _temporary_folder() as folder:
            try:
                self._trainer(folder, stopping).fit()
            except TrainingAbandoned:
                return
            except TrainingFailedError as error:
                reported = self._read_board()[1]
                raise reported or _workers_lost(error, self._call(self._board.retryable_error)) from error
            except RayError as error:
                raise _ray_unhealthy(error) from error
            failure = self._read_board()[1]
            if failure is not None:
                raise failure

    def _read_board(self) -> tuple[RunProgress | None, SeedbedError | None]:
        found: tuple[RunProgress | None, SeedbedError | None] = self._call(self._board.read)
        return found

    def _stop(self) -> None:
        self._call(self._board.request_stop)

    def _waits_for_nodes(self) -> bool:
        return bool(self._call(self._board.waits_for_nodes))

    def _call(self, method: Any) -> Any:
        try:
            return ray.get(method.remote())
        except RayError as error:
            raise _ray_unhealthy(error) from error

    def _trainer(self, folder: str, stopping: threading.Event) -> Any:
        _silence_ray_train()
        scaling = _scaling_config(self._workers, gpus=self._placement.gpus_per_rank)
        trainer: Any = MinimalTorchTrainer  # its annotations are those of the version before
        return trainer(
            _train_loop_per_worker,
            train_loop_config={"program": self._program, "board": self._board, "modules": sys.path},
            torch_config=_process_group_config(self._program, self._placement),
            scaling_config=scaling,
            run_config=_run_config(folder, restarts=self._restarts),
            policy=ElasticScalingPolicy(
                scaling,
                workers=self._workers,
                leaves=self._program.arithmetic.leaves,
                board=self._board,
            ),
            abandoned=lambda: stopping.is_set() and self._waits_for_nodes(),
        )


def _train_loop_per_worker(config: dict[str, Any]) -> None:
    extend_import_path(config["modules"])
    link = RayActorLink(config["board"], rank=get_context().get_world_rank())
    if not run_worker(config["program"], link, group_key=take_group_key()):
        link.wait_for_replacement()


class TrainingAbandoned(Exception):  # noqa: N818 - an early exit, not a failure
    """A stop was requested while no worker group was there to obey."""


class MinimalTorchTrainer(TorchTrainer):
    """A TorchTrainer whose controller starts no actor besides the workers and their synchronisation.

    Each actor costs the start of a process. `policy` decides the size of groups; `abandoned` says when to
    stop waiting for one.
    """

    def __init__(
        self,
        *args: Any,
        policy: ScalingPolicy | None = None,
        abandoned: Callable[[], bool] = lambda: False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._policy, self._abandoned = policy, abandoned

    def _create_default_callbacks(self) -> Any:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [each for each in callbacks if not isinstance(each, _UNUSED_CALLBACKS)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        """Run the controller on the driver's node, and leave signals to the driver."""
        environment = {
            "env_vars": get_env_vars_to_propagate() | {RAY_WARN_BLOCKING_GET_INSIDE_ASYNC_ENV_VAR: "0"}
        }
        own_node = {NODE_LABEL: _own_node_id()}
        remote: Any = ray.remote(num_cpus=0, label_selector=own_node, runtime_env=environment)
        controller = remote(TrainController).remote(**arguments | {"scaling_policy": self._policy})
        running = controller.run.remote()
        while not ray.wait([running], timeout=_POLL_SECONDS)[0]:
            if self._abandoned():
                ray.kill(controller)
                raise TrainingAbandoned
        ray.get(running)
        return ray.get(controller.get_result.remote())


def _own_node_id() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _process_group_config(program: WorkerConfig, placement: WorkerPlacement) -> GpuGroupConfig | GlooConfig:
    return GpuGroupConfig.of(placement.gpu_exchange) if program.device == "cuda" else GlooConfig()


def _scaling_config(workers: WorkerRange, *, gpus: int) -> Any:
    per_rank = {"CPU": 1.0} | ({"GPU": float(gpus)} if gpus else {})
    return ScalingConfig(num_workers=workers.most, use_gpu=gpus > 0, resources_per_worker=per_rank)


def _run_config(folder: str, *, restarts: int) -> Any:
    return RunConfig(
        name="training", storage_path=folder, failure_config=FailureConfig(max_failures=restarts)
    )


def _silence_ray_train() -> None:
    """Silence loggers that report every restart and local mode; the driver reports what matters."""
    logging.getLogger("ray.train").setLevel(logging.ERROR)


@contextmanager
def _polling(
    read_board: ReadBoard,
    stop: Callable[[], None],
    *,
    on_progress: OnProgress,
    stopping: threading.Event,
) -> Iterator[None]:
    """Report new progress, and pass a requested stop to the training, from a thread."""
    delivered = False

    def poll() -> None:
        nonlocal delivered
        delivered = delivered or (stopping.is_set() and _delivered(stop))
        _report(read_board, on_progress)

    thread = PeriodicThread(poll, seconds=_POLL_SECONDS, name="seedbed-progress")
    thread.start()
    try:
        yield
    finally:
        thread.stop(timeout=5)
        _report(read_board, on_progress)


def _delivered(stop: Callable[[], None]) -> bool:
    """Ask the training to stop; False where it cannot be reached, so that the next poll asks again."""
    try:
        stop()
    except SeedbedError as error:
        logger.warning("the stop was not delivered: %s", error.message)
        return False
    return True


def _report(read_board: ReadBoard, on_progress: OnProgress) -> None:
    """Report new progress; an error here must not keep a stop from being delivered."""
    try:
        progress, _ = read_board()
        if progress is not None:
            on_progress(progress)
    except SeedbedError as error:
        logger.warning("progress was not recorded: %s", error.message)


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Yield the storage folder that Ray Train requires; nothing in it is needed afterwards."""
    folder = tempfile.mkdtemp(prefix="seedbed-train-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ray_unhealthy(error: Exception) -> InfrastructureError:
    """Return the failure of a Ray that broke down; the next attempt continues with a new one."""
    line = str(error).strip().splitlines()[0]
    return InfrastructureError("RayUnhealthy", f"Ray broke down during the training: {line[:300]}")


def _workers_lost(error: Exception, reported: SeedbedError | None) -> SeedbedError:
    """Return why the group is not restarted again: the last error of a worker, else Ray's."""
    if reported is not None:
        return reported
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = lines[-1] if lines else type(error).__name__
    return InfrastructureError(
        "WorkersLost",
        f"the worker group failed more often than it may be restarted; last cause: {cause[:300]}",
    )
