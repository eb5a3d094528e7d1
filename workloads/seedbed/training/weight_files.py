"""Files of tensors to start from: safetensors, and torch files of tensors alone.

Their digest is over names, types, shapes and values, equal whichever format holds them, and that of the
receipt for the model of a run. Nothing of a file is executed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, deserialize

from seedbed.arithmetic.weights_listing import TensorDigest, listing_digest
from seedbed.storage.object_limits import WEIGHTS

if TYPE_CHECKING:
    import torch

_TYPES = {
    "BOOL": "bool",
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BF16": "bfloat16",
}
"""Type in a safetensors file -> name in torch."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the tensors of the model, beside an epoch or an optimizer."""
_KNOWN = {
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF file",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"<": "a web page",
    b"{": "JSON",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip archive",
}
_SAVE = "save the tensors with safetensors.torch.save_file, or torch.save(model.state_dict(), …)"


class UnreadableWeights(ValueError):  # noqa: N818 - the state of a file
    """A file that holds no tensors one can start from; problem and fix."""

    def __init__(self, problem: str, fix: str = _SAVE) -> None:
        super().__init__(problem)
        self.problem, self.fix = problem, fix


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """A tensor as a file has it."""

    dtype: str
    """As in torch, without the prefix."""
    shape: tuple[int, ...]
    data: Any
    """A buffer of the elements in row-major order, little endian."""

    def to_torch(self) -> torch.Tensor:
        """Return the tensor; it shares the memory of the buffer."""
        import torch  # 1.6 s, which the digest of a file does not need

        dtype = getattr(torch, self.dtype)
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=dtype)
        return torch.frombuffer(self.data, dtype=dtype).reshape(self.shape)


def parse_weights(data: bytes) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name. Raises UnreadableWeights."""
    if _is_safetensors(data):
        tensors = _from_safetensors(data)
    elif data.startswith((b"PK", b"\x80")):
        tensors = _from_torch(data)
    else:
        raise UnreadableWeights(_kind_of(data))
    if not tensors:
        raise UnreadableWeights("holds no tensors")
    return tensors


def digest_of_weights(tensors: Mapping[str, StoredTensor]) -> str:
    """Return `sha256:<hex>` over names, types, shapes and values."""
    return listing_digest(
        {
            name: TensorDigest(
                dtype=tensor.dtype, shape=tensor.shape, sha256=hashlib.sha256(tensor.data).hexdigest()
            )
            for name, tensor in tensors.items()
        }
    )


def _is_safetensors(data: bytes) -> bool:
    """Say whether a file begins with the length of a header and a header; any first byte is possible."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _kind_of(data: bytes) -> str:
    for start, kind in _KNOWN.items():
        if data.startswith(start):
            return f"is {kind}"
    return "is neither safetensors nor a torch file"


def _from_safetensors(data: bytes) -> dict[str, StoredTensor]:
    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise UnreadableWeights(f"is a damaged safetensors file: {error}") from error
    return {name: _entry(name, entry) for name, entry in entries}


def _entry(name: str, entry: Mapping[str, Any]) -> StoredTensor:
    if entry["dtype"] not in _TYPES:
        raise UnreadableWeights(f"{name} has the type {entry['dtype']}", "convert it to float32")
    return StoredTensor(dtype=_TYPES[entry["dtype"]], shape=tuple(entry["shape"]), data=entry["data"])


def _from_torch(data: bytes) -> dict[str, StoredTensor]:
    named = _tensors_in(_loaded(data))
    size = sum(tensor.numel() * tensor.element_size() for tensor in named.values())
    if size > WEIGHTS.most_bytes:  # views may repeat their elements
        raise UnreadableWeights(f"holds tensors of {size:,} bytes, at most {WEIGHTS.most_bytes:,} are read")
    return {name: _stored(name, tensor) for name, tensor in named.items()}


def _loaded(data: bytes) -> Any:
    import torch  # as above

    _refuse_bomb(data)
    try:
        # weights_only builds tensors and plain containers, and calls nothing that a pickle names
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)  # noqa: TID251
    except pickle.UnpicklingError as error:
        raise UnreadableWeights(f"is a pickle of more than tensors: {_needed(error)}") from error
    except Exception as error:  # torch raises many types for damaged files
        line = " ".join(str(error).split())[:160]
        raise UnreadableWeights(f"is no torch file: {type(error).__name__}: {line}") from error


def _needed(error: Exception) -> str:
    """Return the part of torch's long message that names what the pickle needs."""
    text = " ".join(str(error).split())
    _, mark, after = text.partition("WeightsUnpickler error: ")
    return (after if mark else text).partition(" Check the documentation")[0].partition(". ")[0][:160]


def _refuse_bomb(data: bytes) -> None:
    """Refuse an archive that would unpack to more than a file may have."""
    if not data.startswith(b"PK"):
        return
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnreadableWeights(f"is no torch file: {error}") from error
    size = sum(entry.file_size for entry in entries)
    if size > WEIGHTS.most_bytes:
        raise UnreadableWeights(f"unpacks to {size:,} bytes, at most {WEIGHTS.most_bytes:,} are read")


def _tensors_in(loaded: Any) -> dict[str, torch.Tensor]:
    """Return the state_dict: the file itself, or what a usual key of a checkpoint holds."""
    if not isinstance(loaded, Mapping):
        raise UnreadableWeights(f"holds a {type(loaded).__name__}, not named tensors")
    wrapped = [key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)]
    if len(wrapped) > 1:
        raise UnreadableWeights(f"holds several models: {', '.join(wrapped)}")
    named = loaded[wrapped[0]] if wrapped else loaded
    for name, tensor in named.items():
        _check_tensor(name, tensor)
    return dict(named)


def _check_tensor(name: object, tensor: Any) -> None:
    import torch  # as above

    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        keys = ", ".join(_WRAPPERS)
        problem = f"{name!r} is a {type(tensor).__name__}, not a named tensor"
        raise UnreadableWeights(problem, f"{_SAVE}; tensors may also be under one of the keys {keys}")
    if tensor.device.type != "cpu":
        raise UnreadableWeights(f"{name} has no values: it is on the device {tensor.device.type}")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise UnreadableWeights(f"{name} is sparse or quantized", "save it dense, as float32")
    if str(tensor.dtype).removeprefix("torch.") not in _TYPES.values():
        raise UnreadableWeights(f"{name} has the type {tensor.dtype}", "convert it to float32")


def _stored(name: str, tensor: torch.Tensor) -> StoredTensor:
    import torch  # as above

    try:
        plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
        data: Any = bytearray() if 0 in tensor.shape else plain.reshape(-1).view(torch.uint8).numpy()
    except (RuntimeError, NotImplementedError) as error:
        raise UnreadableWeights(f"{name} has no values: {' '.join(str(error).split())[:120]}") from error
    return StoredTensor(dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape), data=data)
