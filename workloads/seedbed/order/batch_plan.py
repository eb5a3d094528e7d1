"""The batch plan: which rows each leaf of each step consumes.

Epochs follow each other in one stream: position p is row p mod N of epoch p div N. Leaf l of step s consumes
the m positions from (s·L + l)·m on. No row is dropped and every leaf has exactly m rows. The last step is
filled with rows from the start of the epoch that would follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed.order.epoch_shuffle import EpochShuffle
from seedbed_api.errors import UserError, refusal

Rows = npt.NDArray[np.int64]


def total_steps(*, epochs: int, count: int, leaves: int, leaf_rows: int) -> int:
    """Return ceil(E·N / (L·m)): the steps that hold every row of E epochs."""
    return -(-epochs * count // (leaves * leaf_rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPlan:
    """Rows by step and leaf. Raises UserError InvalidSpec for a global batch larger than the view."""

    order: EpochShuffle
    leaves: int
    """L, the leaves of a step."""
    leaf_rows: int
    """m, the rows of a leaf."""
    total_steps: int
    """Steps of the whole run; steps are numbered from 0."""

    def __post_init__(self) -> None:
        if self.step_size > self.order.count:
            problem = f"a global batch is larger than the {self.order.count} training rows"
            fix = f"use at most {self.order.count}, or a larger subset or fold"
            raise UserError(
                "InvalidSpec", refusal("spec.training.batch.globalSize", self.step_size, problem, fix)
            )

    @property
    def step_size(self) -> int:
        """Return L·m, the rows of a step."""
        return self.leaves * self.leaf_rows

    def rows(self, step: int, leaf: int) -> Rows:
        """Return the dataset row numbers of one leaf, shape (m,)."""
        return self._stream(*self._leaf_bounds(step, leaf))

    def epochs_of(self, step: int, leaf: int) -> Rows:
        """Return the epoch of each row of a leaf, shape (m,); augmentation draws by it."""
        start, stop = self._leaf_bounds(step, leaf)
        return np.arange(start, stop) // self.order.count

    def _leaf_bounds(self, step: int, leaf: int) -> tuple[int, int]:
        assert 0 <= step < self.total_steps, (step, self.total_steps)
        assert 0 <= leaf < self.leaves, (leaf, self.leaves)
        start = (step * self.leaves + leaf) * self.leaf_rows
        return start, start + self.leaf_rows

    def _stream(self, start: int, stop: int) -> Rows:
        """Return positions [start, stop) of the endless stream of epochs."""
        pieces = []
        while start < stop:
            epoch, offset = divmod(start, self.order.count)
            taken = min(stop - start, self.order.count - offset)
            pieces.append(self.order.rows(epoch, offset, offset + taken))
            start += taken
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)
