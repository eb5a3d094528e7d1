"""The feed: micro-batches in plan order, made by threads of the worker or by Ray Data, with the same bits."""

from __future__ import annotations

from seedbed.feed.feed_factory import FeedKind, open_evaluation, open_feed
from seedbed.feed.micro_batch import EvaluationBatch, MicroBatch
from seedbed.feed.sample_stream import SampleStream, open_stream
from seedbed.feed.stream_spec import StreamSpec

__all__ = [
    "EvaluationBatch",
    "FeedKind",
    "MicroBatch",
    "SampleStream",
    "StreamSpec",
    "open_evaluation",
    "open_feed",
    "open_stream",
]
