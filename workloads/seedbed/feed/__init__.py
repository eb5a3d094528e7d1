"""The feeds: micro-batches in plan order, by threads of the worker or by Ray Data, with the same bits."""

from __future__ import annotations

from seedbed.feed.feed_factory import FeedKind, open_evaluation, open_feed
from seedbed.feed.micro_batch import EvaluationBatch, MicroBatch
from seedbed.feed.sample_stream import Stream, StreamSpec

__all__ = [
    "EvaluationBatch",
    "FeedKind",
    "MicroBatch",
    "Stream",
    "StreamSpec",
    "open_evaluation",
    "open_feed",
]
