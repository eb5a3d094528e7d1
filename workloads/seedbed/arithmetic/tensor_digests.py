"""Digests: sha256 of tensors and of a model, over values and not over files, whose bytes vary with names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

from seedbed.arithmetic.weights_listing import TensorDigest, listing_digest


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


def weights_digest(named_weights: Mapping[str, torch.Tensor]) -> str:
    """Return the digest of a model: parameters and buffers by name."""
    return listing_digest(tensor_digests(named_weights))
