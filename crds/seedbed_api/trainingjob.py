"""TrainingJob: one manifest, one model."""

from __future__ import annotations

from typing import ClassVar, Literal

from seedbed_api.base_model import Block, Rule
from seedbed_api.execution_settings import Execution, useful_worker_count
from seedbed_api.object_metadata import ObjectMeta
from seedbed_api.recipe import Recipe
from seedbed_api.trainingjob_status import TrainingJobStatus


class TrainingJobSpec(Execution, Recipe):
    """What is asked for: the recipe decides the bits, all else only how they come about."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="cluster.workers.max",
            cel="self.cluster.workers.max <= self.training.batch.globalSize / self.training.batch.microSize",
            holds=lambda spec: spec.cluster.workers.max <= spec.training.batch.leaves,
            problem="must not be more than training.batch.globalSize / microSize",
            fix="lower it, or choose a smaller microSize",
        ),
    )
    recipe_path: ClassVar[str] = "spec"
    """Where the recipe stands in the manifest."""

    @property
    def recipe(self) -> Recipe:
        """Return the recipe."""
        return self

    @property
    def fewest_ranks(self) -> int:
        """Return the fewest ranks with which the job starts and continues."""
        return self.cluster.workers.min

    @property
    def most_ranks(self) -> int:
        """Return the most ranks that make a step faster; more would wait for the busiest one."""
        useful = useful_worker_count(self.training.batch.leaves, self.cluster.workers.max)
        return max(useful, self.fewest_ranks)


class TrainingJob(Block):
    """Train a convolutional network on an image dataset: one manifest gives one model, bit for bit."""

    api_version: Literal["seedbed.dev/v1alpha1"]
    """Version of the language."""
    kind: Literal["TrainingJob"]
    """Kind of the resource."""
    metadata: ObjectMeta
    """Name and labels."""
    spec: TrainingJobSpec
    """What is asked for: the recipe (dataset, model, training, evaluation), which is immutable and decides
    every bit of the model, and the execution (all else), which never does."""
    status: TrainingJobStatus | None = None
    """What became of it; written by the operator, or by a run on this machine."""
