"""The feeds: micro-batches in plan order, by threads of the worker or by Ray Data, with the same bits."""

from __future__ import annotations

from seedbed.feed.batches import EvaluationBatch, MicroBatch
from seedbed.feed.opening import FeedKind, open_evaluation, open_feed
from seedbed.feed.stream import Stream, StreamSpec

__all__ = [
    "EvaluationBatch",
    "FeedKind",
    "MicroBatch",
    "Stream",
    "StreamSpec",
    "open_evaluation",
    "open_feed",
]
