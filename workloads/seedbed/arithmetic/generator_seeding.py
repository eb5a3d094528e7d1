"""Seeding of the default generators of torch, numpy and Python: for a leaf, an evaluation, a mode change.

The seed depends on what is computed only, so draws do not depend on what ran before.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

_MASK = (1 << 64) - 1
_EVALUATION, _MODES = (int.from_bytes(tag, "little") for tag in (b"evaluate", b"modes"))


def mix64(*words: int) -> int:
    """Fold integers into 64 bits, one round of SplitMix64 (Steele, Lea, Flood 2014) per word."""
    state = 0x9E3779B97F4A7C15
    for word in words:
        state = (state + (word & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def seed_leaf(seed: int, step: int, leaf: int, *, device: torch.device) -> None:
    """Seed the default generators for a leaf: those of Python, numpy, the CPU and `device`."""
    _seed(mix64(seed, step, leaf), device)


def seed_evaluation(seed: int, split: str, batch: int, *, device: torch.device) -> None:
    """Seed the default generators for a batch of an evaluation.

    Every evaluation of a split draws the same numbers, so that its results are comparable.
    """
    _seed(mix64(seed, batch, _EVALUATION, *split.encode()), device)


def seed_mode_change(seed: int, *, device: torch.device) -> None:
    """Seed the default generators for a call of train() or eval(), which may draw as well."""
    _seed(mix64(seed, _MODES), device)


@contextlib.contextmanager
def preserve_generators(device: torch.device) -> Iterator[None]:
    """Restore the states of the default generators afterwards."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[_index(device)] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def _seed(word: int, device: torch.device) -> None:
    # not torch.manual_seed: without CUDA that queues one more call, with a stack trace, at every leaf
    torch.default_generator.manual_seed(word)
    if device.type == "cuda":
        torch.cuda.default_generators[_index(device)].manual_seed(word)
    random.seed(word)
    np.random.seed((word ^ word >> 32) & 0xFFFFFFFF)  # one word: a pair costs five times as much


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
