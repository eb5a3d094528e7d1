"""TorchTrainer with what a group needs and no process more: each of Ray's actors costs a start of its own.

Leans on names that Ray 2.60 keeps to itself (the callbacks); the lower and upper bound of the version say so.
"""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

_LEFT_OUT = (
    DatasetsCallback,  # an actor that splits datasets; the feeds open their own
    PlacementGroupCleanerCallback,  # an actor for clusters that outlive the driver; ours ends with it
)


class LeanTrainer(TorchTrainer):
    """A TorchTrainer whose controller starts no actor besides the workers and their synchronisation."""

    def _create_default_callbacks(self) -> Any:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [each for each in callbacks if not isinstance(each, _LEFT_OUT)]
