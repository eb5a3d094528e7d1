"""The listing of tensors of which a weights digest is made. Imports no torch, which takes 1.6 s to load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorDigest:
    """Type, shape and sha256 of a tensor."""

    dtype: str
    """As in torch, without the prefix: float32, int64, …"""
    shape: tuple[int, ...]
    sha256: str
    """Hex digest of the elements in row-major order, little endian."""


def listing_digest(digests: Mapping[str, TensorDigest]) -> str:
    """Return "sha256:…" over one JSON line [name, dtype, shape, sha256] per tensor, in name order."""
    lines = (
        json.dumps([name, digest.dtype, list(digest.shape), digest.sha256], separators=(",", ":"))
        for name, digest in sorted(digests.items())
    )
    return "sha256:" + hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).hexdigest()
