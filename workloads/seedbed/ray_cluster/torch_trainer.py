"""TorchTrainer with what a group needs and no process more: each of Ray's actors costs a start of its own.

Leans on names that Ray 2.60 keeps to itself (the callbacks); the lower and upper bound of the version say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray._common.constants import RAY_WARN_BLOCKING_GET_INSIDE_ASYNC_ENV_VAR
from ray._raylet import RAY_NODE_ID_KEY  # type: ignore[attr-defined]
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import ScalingPolicy

_LOOK_SECONDS = 0.2

_LEFT_OUT = (
    DatasetsCallback,  # an actor that splits datasets; the feeds open their own
    PlacementGroupCleanerCallback,  # an actor for clusters that outlive the driver; ours ends with it
)


class TrainingAbandoned(Exception):  # noqa: N818 - a way out, not a failure
    """Told to stop while no group was there to obey."""


class MinimalTorchTrainer(TorchTrainer):
    """A TorchTrainer whose controller starts no actor besides the workers and their synchronisation.

    `policy` decides about the size of groups; `abandoned` says when waiting for one has become pointless.
    """

    def __init__(
        self,
        *args: Any,
        policy: ScalingPolicy | None = None,
        abandoned: Callable[[], bool] = lambda: False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._policy, self._given_up = policy, abandoned

    def _create_default_callbacks(self) -> Any:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [each for each in callbacks if not isinstance(each, _LEFT_OUT)]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        """Run the controller beside the driver, and leave signals to the driver."""
        here = {RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
        environment = {
            "env_vars": get_env_vars_to_propagate() | {RAY_WARN_BLOCKING_GET_INSIDE_ASYNC_ENV_VAR: "0"}
        }
        beside: Any = ray.remote(num_cpus=0, label_selector=here, runtime_env=environment)
        controller = beside(TrainController).remote(**arguments | {"scaling_policy": self._policy})
        running = controller.run.remote()
        while not ray.wait([running], timeout=_LOOK_SECONDS)[0]:
            if self._given_up():
                ray.kill(controller)
                raise TrainingAbandoned
        ray.get(running)
        return ray.get(controller.get_result.remote())
