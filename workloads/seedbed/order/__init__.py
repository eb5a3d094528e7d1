"""The order: a pure function of (seed, epoch, view), and the plan that cuts the stream of epochs into leaves.

Nothing here knows a worker, a clock or a file; a resume is a slice, not a state.
"""

from __future__ import annotations

from seedbed.order.batch_plan import BatchPlan, total_steps
from seedbed.order.epoch_shuffle import WINDOW, EpochShuffle

__all__ = ["WINDOW", "BatchPlan", "EpochShuffle", "total_steps"]
