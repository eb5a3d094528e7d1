"""The order of rows: a shuffle per epoch from (seed, epoch, view), and a plan that cuts epochs into batches.

Pure: no worker, clock or file. A resume needs no stored position, since any slice can be computed.
"""

from __future__ import annotations

from seedbed.order.batch_plan import BatchPlan, total_steps
from seedbed.order.epoch_shuffle import WINDOW, EpochShuffle

__all__ = ["WINDOW", "BatchPlan", "EpochShuffle", "total_steps"]
