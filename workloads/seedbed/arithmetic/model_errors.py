"""How the arithmetic says that a model does not fit."""

from __future__ import annotations


class ModelOutputError(ValueError):
    """The model does not fit the task: wrong output shape, no gradient, or state of its own that moves.

    The message is `PROBLEM; FIX`.
    """
