"""The plan: the stream of epochs, end to end, cut into steps of L leaves of m rows.

Position p of the stream is row p mod N of epoch p div N. Step s, leaf l owns the m positions from
(s·L + l)·m on. Nothing is dropped and every leaf has exactly m rows; the last step runs over into the
epoch after the last.
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
    """Which rows each leaf of each step consumes. A global batch larger than the view is a `UserError`."""

    order: EpochShuffle
    leaves: int
    """L, the logical shards of a step."""
    leaf_rows: int
    """m, the rows of a leaf."""
    total_steps: int
    """Steps of the whole run; steps are numbered from 0."""
    epochs: int | None = None
    """E where the run is given in epochs, None where it is given in steps."""

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
        """Return the epoch that each row of a leaf belongs to, shape (m,): what augmentation is keyed by."""
        start, stop = self._leaf_bounds(step, leaf)
        return np.arange(start, stop) // self.order.count

    def step_rows(self, step: int) -> Rows:
        """Return the dataset row numbers of a whole step, shape (L, m)."""
        assert 0 <= step < self.total_steps, (step, self.total_steps)
        start = step * self.step_size
        return self._stream(start, start + self.step_size).reshape(self.leaves, self.leaf_rows)

    def epoch_position(self, step: int) -> tuple[int, int]:
        """Return (epoch, position in the epoch) of the first row of a step; step may be total_steps."""
        assert 0 <= step <= self.total_steps, (step, self.total_steps)
        return divmod(step * self.step_size, self.order.count)

    def last_step_of(self, epoch: int) -> int:
        """Return the step in which the last row of an epoch is consumed; evaluations follow it."""
        return -(-(epoch + 1) * self.order.count // self.step_size) - 1

    def fill_rows(self) -> Rows:
        """Return the rows that fill the last step from the start of epoch E; the ledger lists them apart.

        In order, shape (total_steps·L·m - E·N,); empty where the run is given in steps.
        """
        stop = self.total_steps * self.step_size
        end_of_epochs = stop if self.epochs is None else min(stop, self.epochs * self.order.count)
        return self._stream(end_of_epochs, stop)

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
