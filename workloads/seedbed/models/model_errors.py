"""What is raised for a network that Seedbed does not train."""

from __future__ import annotations


class UnsupportedModelError(ValueError):
    """The network cannot be trained with equal bits for every worker count, or not be kept whole.

    The message names the part and the fix: `PART: PROBLEM; FIX`.
    """
