"""Random numbers of a leaf: the default generators, seeded by (seed, step, leaf) and by nothing else."""

from __future__ import annotations

import torch

_MASK = (1 << 64) - 1


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
    """Seed the default generator of the CPU and of `device`.

    Not torch.manual_seed: without CUDA that queues one more call, with a stack trace, at every leaf.
    """
    word = mix64(seed, step, leaf)
    torch.default_generator.manual_seed(word)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(word)
