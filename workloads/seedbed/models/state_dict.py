"""The stored tensors of a network: parameters and persistent buffers, under every name in its `state_dict()`.

The same tensors are hashed, stored in checkpoints and exported. A network whose `state_dict()` has fewer or
more tensors, or other values, is rejected by the name of the tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from seedbed.models.model_errors import UnsupportedModelError

_STATISTICS = {
    "running_mean": torch.float32,
    "running_var": torch.float32,
    "num_batches_tracked": torch.int64,
}
"""Buffers of a BatchNorm that training changes."""
_STORED = {
    torch.bool,
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.float32, torch.float64),
}
"""Types that checkpoints and receipts can store: real numbers that numpy has."""
_OWN = "let state_dict() be torch's own"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A parameter or buffer of a layer."""

    name: str
    tensor: torch.Tensor
    layer: nn.Module
    attribute: str
    persistent: bool

    @property
    def is_statistic(self) -> bool:
        return isinstance(self.layer, _BatchNorm) and self.attribute in _STATISTICS

    @property
    def changes(self) -> bool:
        """Say whether training writes into the tensor."""
        return self.is_statistic or self.tensor.requires_grad


def stored_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the live parameters, then the persistent buffers, shared ones under each of their names."""
    return {entry.name: entry.tensor for entry in _entries(model, shared=True) if entry.persistent}


def non_persistent_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the buffers that were registered with persistent=False."""
    return {entry.name: entry.tensor for entry in _entries(model, shared=True) if not entry.persistent}


def shared_tensor(one: nn.Module, other: nn.Module) -> str | None:
    """Return the name of a tensor that training changes and that lies in both networks; None without one."""
    places = {_place(entry) for entry in _entries(one, shared=False) if entry.changes}
    later = (entry for entry in _entries(other, shared=False) if entry.changes and entry.tensor.numel())
    return next((entry.name for entry in later if _place(entry) in places), None)


def check_state_dict(model: nn.Module) -> None:
    """Reject a network that cannot be stored whole, by the name of a tensor. Raises UnsupportedModelError."""
    entries = list(_entries(model, shared=False))
    for entry in entries:
        _check_tensor(entry)
    for name, layer in model.named_modules():
        _check_extra_state(name, layer)
    _check_memory(entries)
    own = {name: tensor.detach().clone() for name, tensor in _stored(model).items()}
    _check_agreement(_state_dict(model), own)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Say whether two tensors have one type, shape and value; NaN equals the same NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(*(t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)))


def _entries(model: nn.Module, *, shared: bool) -> Iterator[_Entry]:
    """Yield all parameters, then all buffers; a layer with several names once, or under each of them."""
    layers = list(model.named_modules(remove_duplicate=not shared))
    for prefix, layer in layers:
        for attribute, parameter in layer._parameters.items():
            if parameter is not None:
                yield _entry(prefix, layer, attribute, parameter, persistent=True)
    for prefix, layer in layers:
        for attribute, buffer in layer._buffers.items():
            if buffer is not None:
                persistent = attribute not in layer._non_persistent_buffers_set
                yield _entry(prefix, layer, attribute, buffer, persistent=persistent)


def _entry(
    prefix: str, layer: nn.Module, attribute: str, tensor: torch.Tensor, *, persistent: bool
) -> _Entry:
    name = f"{prefix}.{attribute}" if prefix else attribute
    return _Entry(name=name, tensor=tensor, layer=layer, attribute=attribute, persistent=persistent)


def _check_tensor(entry: _Entry) -> None:
    name, tensor = entry.name, entry.tensor
    if is_lazy(tensor):
        raise UnsupportedModelError(
            f"{name}: a lazy layer has no shape yet; give its sizes, or run an image through it in build"
        )
    if tensor.is_meta or tensor.device.type != "cpu":
        raise UnsupportedModelError(
            f"{name}: lies on device {tensor.device}; build the network on the CPU, Seedbed moves it"
        )
    if tensor.is_inference():
        raise UnsupportedModelError(
            f"{name}: was made in torch.inference_mode(), so that nothing can train it; build outside of it"
        )
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise UnsupportedModelError(f"{name}: has the layout {layout}; make it dense with .to_dense()")
    if entry.persistent:
        _check_stored(entry)
    elif entry.is_statistic:
        raise UnsupportedModelError(
            f"{name}: training changes it and state_dict() leaves it out; register it with persistent=True"
        )


def _check_stored(entry: _Entry) -> None:
    name, tensor = entry.name, entry.tensor
    dtype = str(tensor.dtype).removeprefix("torch.")
    if isinstance(tensor, nn.Parameter) and tensor.dtype != torch.float32:
        raise UnsupportedModelError(
            f"{name}: parameters are float32, not {dtype}; leave them float32: "
            "BFloat16 is a training precision, float16 is not supported"
        )
    if entry.is_statistic and tensor.dtype != _STATISTICS[entry.attribute]:
        needed = str(_STATISTICS[entry.attribute]).removeprefix("torch.")
        raise UnsupportedModelError(f"{name}: statistics of BatchNorm are not {dtype}; leave them {needed}")
    if tensor.dtype not in _STORED:
        raise UnsupportedModelError(f"{name}: a checkpoint cannot hold {dtype}; {_other_type(tensor)}")
    if tensor.is_neg():
        raise UnsupportedModelError(f"{name}: is a negated view; call .resolve_neg() on it")
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        raise UnsupportedModelError(f"{name}: its elements share memory; call .contiguous() on it")
    if tensor.requires_grad and not _is_dense(tensor):
        raise UnsupportedModelError(f"{name}: a part of a larger tensor, with gaps; call .contiguous() on it")
    if isinstance(tensor, nn.Parameter) and not bool(tensor.isfinite().all()):
        raise UnsupportedModelError(
            f"{name}: is not finite before the first step; initialise it (torch.empty does not)"
        )


def _other_type(tensor: torch.Tensor) -> str:
    if tensor.is_complex():
        return "make it real with torch.view_as_real, or register it with persistent=False"
    return "make it float32, or register it with persistent=False"


def _is_dense(tensor: torch.Tensor) -> bool:
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() == 1 + sum((size - 1) * stride for size, stride in steps)


def _check_extra_state(name: str, layer: nn.Module) -> None:
    if type(layer).get_extra_state is not nn.Module.get_extra_state:
        raise UnsupportedModelError(
            f"{name or 'the model'}: get_extra_state() stores more than named tensors; make it a buffer"
        )


def _check_memory(entries: list[_Entry]) -> None:
    """Reject tensors that share memory with one that training changes, except tied parameters and layers."""
    spans: dict[int, list[tuple[int, int, _Entry]]] = defaultdict(list)
    for entry in entries:
        if entry.tensor.numel():
            start, stop = _span(entry.tensor)
            spans[_place(entry)].append((start, stop, entry))
    for group in spans.values():
        for (_, stop, first), (start, _, second) in pairwise(sorted(group, key=lambda span: span[:2])):
            tied = first.tensor is second.tensor and not (first.is_statistic or second.is_statistic)
            if start < stop and not tied and (first.changes or second.changes):
                changing, other = (first, second) if first.changes else (second, first)
                raise UnsupportedModelError(
                    f"{other.name}: shares memory with {changing.name}, which training changes; "
                    "register one nn.Parameter or one layer under both names, or call .clone()"
                )


def _place(entry: _Entry) -> int:
    return entry.tensor.untyped_storage().data_ptr()


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps)
    start = tensor.data_ptr()
    return start, start + (last + 1) * tensor.element_size()


def _stored(model: nn.Module) -> dict[str, torch.Tensor]:
    try:
        return stored_tensors(model)
    except RecursionError as error:
        raise UnsupportedModelError(
            "the model: a layer holds itself, or one above it; keep that reference in a list or a tuple"
        ) from error


def _state_dict(model: nn.Module) -> Mapping[str, object]:
    try:
        given = model.state_dict()
    except Exception as error:
        raise UnsupportedModelError(
            f"the model: state_dict() raised {type(error).__name__}: {error}; {_OWN}"
        ) from error
    if not isinstance(given, Mapping):
        raise UnsupportedModelError(f"the model: state_dict() gave {type(given).__name__}; {_OWN}")
    return given


def _check_agreement(given: Mapping[str, object], own: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in own.items():
        if name not in given:
            raise UnsupportedModelError(
                f"{name}: state_dict() leaves it out, so that it would be lost; {_OWN}"
            )
        other = given[name]
        if not isinstance(other, torch.Tensor) or not same_bits(tensor, other):
            raise UnsupportedModelError(
                f"{name}: state_dict() gives another value than the network has; {_OWN}"
            )
    for name in given:
        if name not in own:
            raise UnsupportedModelError(
                f"{name}: state_dict() holds it, and no parameter or buffer has that name; {_OWN}"
            )
