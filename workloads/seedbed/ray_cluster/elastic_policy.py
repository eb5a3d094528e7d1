"""The scaling policy of Ray Train's controller: how many ranks a worker group gets, and when it is resized.

A group is resized at a checkpoint. Ray's own elastic policy polls the nodes every 20 s and ends a group in
mid-step. The policy runs in the controller, on the driver's node.
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

POLL_SECONDS = 1.0
"""How often the nodes are listed while a group trains."""
_PAUSED_POLL_SECONDS = 0.25
SETTLE_SECONDS = 3.0
"""How long a change must last before a group is resized: nodes often join in twos and threes."""
_BOARD_TIMEOUT_SECONDS = 30.0


class ElasticScalingPolicy(ScalingPolicy):
    """Sizes groups by the room on the nodes and the need of the leaves, within the range of the job."""

    def __init__(
        self, scaling_config: ScalingConfig, *, workers: WorkerRange, leaves: int, board: Any
    ) -> None:
        super().__init__(scaling_config)
        self._workers, self._leaves, self._board = workers, leaves, board
        self._gpus = float(scaling_config._resources_per_worker_not_none.get("GPU", 0.0))
        self._polled = float("-inf")
        self._changed_at: float | None = None
        self._pausing = False

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Start a group on the present nodes, or wait for more."""
        self._changed_at, self._pausing = None, False
        wanted = self._target_size(alive_nodes())
        if wanted is None:
            self._call(self._board.mark_waiting_for_nodes)
            time.sleep(_PAUSED_POLL_SECONDS)  # the controller asks again at once
            return NoopDecision()
        return self._resize(wanted)

    def make_decision_for_running_worker_group(
        self,
        worker_group_state: Any,
        worker_group_status: Any,  # noqa: ARG002
    ) -> ScalingDecision:
        """Ask the group to pause when another size is wanted, and replace it once it has paused."""
        now = time.monotonic()
        if now - self._polled < (_PAUSED_POLL_SECONDS if self._pausing else POLL_SECONDS):
            return NoopDecision()
        self._polled = now
        nodes = alive_nodes()
        wanted, leaving = self._target_size(nodes), any(node.leaving for node in nodes)
        if self._pausing:
            return self._replace_paused_group(wanted)
        if should_resize(worker_group_state.num_workers, wanted, leaving=leaving):
            self._changed_at = self._changed_at or now
            if leaving or now - self._changed_at >= SETTLE_SECONDS:
                self._pausing = True
                self._call(self._board.request_pause)
        else:
            self._changed_at = None
        return NoopDecision()

    def _replace_paused_group(self, wanted: int | None) -> ScalingDecision:
        """Replace a paused group; where too few ranks would be left, it waits for the node to end."""
        if wanted is None or not self._call(self._board.is_paused):
            return NoopDecision()
        self._changed_at, self._pausing = None, False
        return self._resize(wanted)

    def _target_size(self, nodes: list[Node]) -> int | None:
        ranks = rank_capacity(nodes, gpus_per_rank=self._gpus)
        return target_size(ranks, self._workers, leaves=self._leaves)

    def _resize(self, size: int) -> ResizeDecision:
        self._call(self._board.start_group)
        return ResizeDecision(
            num_workers=size, resources_per_worker=self.scaling_config._resources_per_worker_not_none
        )

    def _call(self, method: Any) -> Any:
        return ray.get(method.remote(), timeout=_BOARD_TIMEOUT_SECONDS)

    def _get_num_workers_for_resource_request(self) -> int:
        return self._workers.most

    def after_controller_start(self, train_run_context: Any) -> None:
        """Request no nodes: the operator decides about pods."""

    async def before_controller_shutdown(self) -> None:
        """No node was requested."""

    def before_controller_abort(self) -> None:
        """No node was requested."""
