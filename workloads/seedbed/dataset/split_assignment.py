"""Split, fold and subset of a row: each is drawn by a hash of the row's key.

A key is the id of the row or the hash of its group, so a group stays together, and new rows move no old row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from seedbed.dataset.file_format import SPLITS
from seedbed_api.errors import UserError, refusal


def _position(tag: bytes, key: bytes) -> int:
    """Return the hash of a key in [0, 2**64) for one purpose."""
    return int.from_bytes(hashlib.sha256(b"seedbed " + tag + b"\0" + key).digest()[:8], "big")


def group_key(group: str) -> bytes:
    """Return the 32-byte key that all rows of a group share."""
    return hashlib.sha256(b"seedbed group\0" + group.encode("utf-8", "surrogateescape")).digest()


def split_of(key: bytes, fractions: Mapping[str, Fraction]) -> str:
    """Return the split of a key; `fractions` add up to 1."""
    position, edge = Fraction(_position(b"split", key), 2**64), Fraction(0)
    for split in SPLITS:
        edge += fractions.get(split, Fraction(0))
        if position < edge:
            return split
    raise AssertionError("split fractions do not add up to 1")


def in_subset(key: bytes, fraction: Fraction) -> bool:
    """Return whether a key is in the subset; larger subsets contain smaller ones."""
    return _position(b"subset", key) < fraction * 2**64


def fold_of(key: bytes, count: int) -> int:
    """Return the fold of a key, 0 <= fold < count."""
    return _position(b"fold", key) * count >> 64


def parse_split(text: str) -> dict[str, str]:
    """Parse `train=0.8,validation=0.1,test=0.1`; the fractions must add up to exactly 1."""
    fix = "write for example --split train=0.8,validation=0.1,test=0.1"
    parts = [part.partition("=") for part in text.split(",")]
    fractions = {name.strip(): value.strip() for name, _, value in parts}
    if len(fractions) != len(parts) or not set(fractions) <= set(SPLITS):
        raise UserError(
            "InvalidSplit", refusal("--split", text, "splits are train, validation and test, once each", fix)
        )
    try:
        numbers = [Fraction(value) for value in fractions.values()]
    except (ValueError, ZeroDivisionError):
        raise UserError("InvalidSplit", refusal("--split", text, "a fraction is not a number", fix)) from None
    if sum(numbers) != 1 or min(numbers) < 0 or Fraction(fractions.get("train", "0")) <= 0:
        problem = "the fractions must add up to exactly 1 and train must be more than 0"
        raise UserError("InvalidSplit", refusal("--split", text, problem, fix))
    return fractions


def select_positions(
    keys_n: npt.NDArray[np.uint8], accepts: Callable[[bytes], bool]
) -> npt.NDArray[np.int32]:
    """Return the positions of the keys, shape (n, 32), that `accepts` accepts, ascending."""
    flat = keys_n.tobytes()
    return np.fromiter((i for i in range(len(keys_n)) if accepts(flat[32 * i : 32 * i + 32])), dtype=np.int32)
