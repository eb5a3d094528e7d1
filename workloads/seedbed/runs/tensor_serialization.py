"""Tensors as bytes: digests of values, and safetensors blobs whose bytes depend on names and values alone."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seedbed.arithmetic.weights_listing import TensorDigest, listing_digest

Array: TypeAlias = npt.NDArray[Any]
TensorDocument: TypeAlias = dict[str, Any]
"""`{"dtype": "float32", "shape": [64, 3, 3, 3], "sha256": "<hex>"}`."""

MODEL = "model"
OPTIMIZER = "optimizer"
AVERAGE = "optimizer.average"


def as_array(tensor: Any) -> Array:
    """Return an array or torch tensor (of any device) as a C-contiguous little-endian array, shape kept."""
    array = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)
    assert array.dtype.kind in "fiub", f"no tensor of a checkpoint has dtype {array.dtype}"
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def describe_tensor(tensor: Any) -> TensorDocument:
    """Return dtype, shape and the sha256 of the little-endian bytes in C order."""
    array = as_array(tensor)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "sha256": sha256(array.reshape(-1).view(np.uint8).data).hexdigest(),
    }


def describe_tensors(tensors: Mapping[str, Any]) -> dict[str, TensorDocument]:
    """Return the documents of named tensors, by sorted name."""
    return {name: describe_tensor(tensors[name]) for name in sorted(tensors)}


def weights_digest(weights: Mapping[str, Any]) -> str:
    """Return `sha256:<hex>` of the weights and buffers of a model, names as in its state_dict."""
    return digest_of_documents(describe_tensors(weights))


def digest_of_documents(documents: Mapping[str, TensorDocument]) -> str:
    """Return the digest over names, dtypes, shapes and values of described tensors: the arithmetic's."""
    return listing_digest(
        {
            name: TensorDigest(dtype=entry["dtype"], shape=tuple(entry["shape"]), sha256=entry["sha256"])
            for name, entry in documents.items()
        }
    )


def serialize(tensors: Mapping[str, Any]) -> bytes:
    """Return the safetensors bytes of named tensors, a function of names and values alone."""
    return save({name: as_array(tensors[name]) for name in sorted(tensors)})


def deserialize(data: bytes) -> dict[str, Array]:
    """Return the tensors of safetensors bytes; ValueError if they are damaged."""
    try:
        return dict(load(data))
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"no safetensors: {error}") from error


def tensors_with_prefix(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the tensors named `<prefix>.<name>` by `<name>`."""
    head = f"{prefix}."
    return {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}


def model_of(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is evaluated and exported of a named state: averages where it has them, else weights."""
    return tensors_with_prefix(tensors, MODEL) | tensors_with_prefix(tensors, AVERAGE)


def to_torch(tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Return arrays as torch tensors that own their memory."""
    import torch  # 1.6 s, see above

    return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
