"""Bottleneck of a run: the activity that took most of its time, and advice to shorten it."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.report.run_report_data import TimeSpent


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The time of one activity of the run."""

    key: str
    label: str
    seconds: float
    share: float
    """Of the sum over all parts, 0 to 1."""


_LABELS = {
    "start_up": "start-up",
    "data": "data",
    "compute": "compute",
    "exchange": "exchange",
    "evaluation": "evaluation",
    "checkpoint": "checkpoint",
    "other": "overhead",
}
_SENTENCES = {
    "start_up": "went into start-up, before the training; it matters less in a longer run.",
    "data": "were spent waiting for data; more reading or decoding CPUs, or a larger cache, would help.",
    "compute": "were forward and backward passes; more workers or a faster device would help.",
    "exchange": "were spent exchanging gradients; larger micro-batches or a faster network would help.",
    "evaluation": "were evaluations; a larger evaluation.everyEpochs would help.",
    "checkpoint": "were spent writing checkpoints; a larger checkpoint.everySteps would help.",
    "other": "went between worker groups, after the last step, or into work that was lost in a kill.",
}


def time_parts(spent: TimeSpent) -> list[Part]:
    """Return all parts in the order of a run, with their shares; negative times count as 0."""
    seconds = {key: max(0.0, getattr(spent, key)) for key in _LABELS}
    total = sum(seconds.values()) or 1.0
    return [
        Part(key=key, label=_LABELS[key], seconds=value, share=value / total)
        for key, value in seconds.items()
    ]


def bottleneck_sentence(spent: TimeSpent) -> str:
    """Return a sentence about the largest part, the first among equals; '' if no time was measured."""
    largest = max(time_parts(spent), key=lambda part: part.seconds)
    if largest.seconds == 0.0:
        return ""
    limited = f"Limited by {largest.label}" if largest.share >= 0.5 else f"Limited mostly by {largest.label}"
    share = f"{100 * largest.share:.0f} % of the time ({largest.seconds:.1f} s)"
    return f"{limited}: {share} {_SENTENCES[largest.key]}"
