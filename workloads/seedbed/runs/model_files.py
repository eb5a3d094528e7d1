"""The model files for users: safetensors and a config, loadable with plain torch and safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from seedbed.runs.run_folder import RunFolder
from seedbed.runs.sealed_json import Document
from seedbed.runs.tensor_serialization import Array, deserialize, serialize, weights_digest
from seedbed.storage.object_limits import TENSORS
from seedbed_api.canonical_json import canonical_json

WEIGHTS = "model/model.safetensors"
CONFIG = "model/config.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """What was written: the subjects of the receipt."""

    weights_digest: str
    """`sha256:<hex>` over names, dtypes, shapes and values."""
    files: dict[str, str]
    """Path in the run folder -> hex sha256 of the file."""


def model_config(
    *,
    name: str | None,
    entrypoint: str | None,
    arguments: Mapping[str, str],
    classes: list[str],
    image_size: int,
    mean: list[str],
    std: list[str],
    task: str | None = None,
) -> Document:
    """Return the config of a model; mean and std are decimal strings on the scale of 0 to 1, RGB.

    `task` is given of datasets that are not single-label; `classes` are the names of the outputs.
    """
    assert (name is None) != (entrypoint is None), "a model is built in or from user code"
    return {
        "schemaVersion": 1,
        "model": {"name": name} if name else {"entrypoint": entrypoint},
        "arguments": dict(arguments),
        "classes": classes,
        "imageSize": image_size,
        "normalization": {"mean": mean, "std": std},
    } | ({} if task is None else {"task": task})


def read_model(folder: RunFolder) -> dict[str, Array]:
    """Return the weights of a finished run, named as in the model's state_dict."""
    return deserialize(folder.objects.read(WEIGHTS, TENSORS))


def model_weights_digest(data: bytes) -> str:
    """Return the weights digest of the bytes of a model file; ValueError where they are damaged."""
    return weights_digest(deserialize(data))


def save_model(folder: RunFolder, weights: Mapping[str, Any], config: Document) -> ModelFiles:
    """Write weights (named as in the model's state_dict) and config."""
    contents = {WEIGHTS: serialize(weights), CONFIG: canonical_json(config)}
    for path, data in contents.items():
        folder.publish(path, data)
    files = {path: sha256(data).hexdigest() for path, data in contents.items()}
    return ModelFiles(weights_digest=weights_digest(weights), files=files)
