"""Ray Train's controller asks here how large a group should be. A change goes through a checkpoint.

Ray's own elastic policy learns of machines by an actor that looks every 20 s, and ends a group in mid-step.
Runs in the controller, beside the driver.
"""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.train.v2._internal.execution.scaling_policy import (
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
    ScalingPolicy,
)
from ray.train.v2.api.config import ScalingConfig

from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.ray_cluster.group_size import Node, rank_capacity, should_resize, target_size
from seedbed.ray_cluster.ray_nodes import alive_nodes

LOOK_SECONDS = 1.0
"""Distance of two looks at the machines while a group trains."""
_WAIT_SECONDS = 0.25
SETTLE_SECONDS = 3.0
"""A change lasts so long before a group gives way: machines come in twos and threes."""
_ANSWER_SECONDS = 30.0


class ElasticScalingPolicy(ScalingPolicy):
    """Train with as many ranks as are there and help, between least and most; wait for the least."""

    def __init__(
        self, scaling_config: ScalingConfig, *, workers: WorkerRange, leaves: int, board: Any
    ) -> None:
        super().__init__(scaling_config)
        self._workers, self._leaves, self._board = workers, leaves, board
        self._gpus = float(scaling_config._resources_per_worker_not_none.get("GPU", 0.0))
        self._looked = float("-inf")
        self._changed: float | None = None
        self._holding = False

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Start a group of the ranks that are there, or wait."""
        self._changed, self._holding = None, False
        wanted = self._wanted(alive_nodes())
        if wanted is None:
            self._tell(self._board.wait)
            time.sleep(_WAIT_SECONDS)  # the controller asks again at once
            return NoopDecision()
        return self._resized(wanted)

    def make_decision_for_running_worker_group(
        self,
        worker_group_state: Any,
        worker_group_status: Any,  # noqa: ARG002
    ) -> ScalingDecision:
        """Ask the group to rest when another size is wanted, and replace it once it rests."""
        now = time.monotonic()
        if now - self._looked < (_WAIT_SECONDS if self._holding else LOOK_SECONDS):
            return NoopDecision()
        self._looked = now
        nodes = alive_nodes()
        wanted, leaving = self._wanted(nodes), any(node.leaving for node in nodes)
        if self._holding:
            return self._once_it_rests(wanted)
        if should_resize(worker_group_state.num_workers, wanted, leaving=leaving):
            self._changed = self._changed or now
            if leaving or now - self._changed >= SETTLE_SECONDS:
                self._holding = True
                self._tell(self._board.hold)
        else:
            self._changed = None
        return NoopDecision()

    def _once_it_rests(self, wanted: int | None) -> ScalingDecision:
        """Replace a group that rests; where too few would be left it waits, and ends with who leaves."""
        if wanted is None or not self._tell(self._board.resting):
            return NoopDecision()
        self._changed, self._holding = None, False
        return self._resized(wanted)

    def _wanted(self, nodes: list[Node]) -> int | None:
        ranks = rank_capacity(nodes, gpus_per_rank=self._gpus)
        return target_size(ranks, self._workers, leaves=self._leaves)

    def _resized(self, size: int) -> ResizeDecision:
        self._tell(self._board.begin)
        return ResizeDecision(
            num_workers=size, resources_per_worker=self.scaling_config._resources_per_worker_not_none
        )

    def _tell(self, method: Any) -> Any:
        return ray.get(method.remote(), timeout=_ANSWER_SECONDS)

    def _get_num_workers_for_resource_request(self) -> int:
        return self._workers.most

    def after_controller_start(self, train_run_context: Any) -> None:
        """Ask no autoscaler: machines are the operator's."""

    async def before_controller_shutdown(self) -> None:
        """Nothing was asked for."""

    def before_controller_abort(self) -> None:
        """Nothing was asked for."""
