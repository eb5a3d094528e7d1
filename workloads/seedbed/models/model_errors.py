"""Errors for a network that Seedbed cannot train."""

from __future__ import annotations


class UnsupportedModelError(ValueError):
    """The network cannot be trained with equal bits for every worker count, or cannot be stored whole.

    The message names the part and the fix: `PART: PROBLEM; FIX`.
    """


class ModelOutputError(ValueError):
    """The model does not fit the task: wrong output shape, no gradient, or changing state of its own.

    The message is `PROBLEM; FIX`.
    """
