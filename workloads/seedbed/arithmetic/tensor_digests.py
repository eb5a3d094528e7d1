"""Digests: sha256 of tensors and of a model, over values and not over files, whose bytes vary with names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorDigest:
    """Type, shape and sha256 of a tensor."""

    dtype: str
    """As in torch, without the prefix: float32, int64, …"""
    shape: tuple[int, ...]
    sha256: str
    """Hex digest of the elements in row-major order, little endian."""


def tensor_digest(tensor: torch.Tensor) -> TensorDigest:
    """Digest one tensor; its device and strides do not matter."""
    rows = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return TensorDigest(
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(tensor.shape),
        sha256=hashlib.sha256(rows.data).hexdigest(),
    )


def tensor_digests(named: Mapping[str, torch.Tensor]) -> dict[str, TensorDigest]:
    """Digest every tensor, in name order."""
    return {name: tensor_digest(named[name]) for name in sorted(named)}


def listing_digest(digests: Mapping[str, TensorDigest]) -> str:
    """Return "sha256:…" over one JSON line [name, dtype, shape, sha256] per tensor, in name order."""
    lines = (
        json.dumps([name, digest.dtype, list(digest.shape), digest.sha256], separators=(",", ":"))
        for name, digest in sorted(digests.items())
    )
    return "sha256:" + hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).hexdigest()


def weights_digest(named_weights: Mapping[str, torch.Tensor]) -> str:
    """Return the digest of a model: parameters and buffers by name."""
    return listing_digest(tensor_digests(named_weights))
