"""Check of the layers of a network: no state outside of BatchNorm may depend on earlier leaves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seedbed.models.model_errors import UnsupportedModelError
from seedbed.models.state_dict import check_state_dict

__all__ = ["UnsupportedModelError", "check_supported"]


def check_supported(model: nn.Module, example_bchw: torch.Tensor) -> None:
    """Reject a network, naming the unsupported part. Raises UnsupportedModelError.

    Runs one forward pass in training mode on `example_bchw` (two rows or more); parameters, buffers and the
    default generators are as before afterwards.
    """
    if not model.training:
        raise UnsupportedModelError(
            "the model: is in evaluation mode; return it in training mode: call .train() in build "
            "(layers that stay frozen may be in evaluation mode each)"
        )
    for name, layer in model.named_modules():
        _check_layer(name or "the model", layer)
    check_state_dict(model)
    _check_buffers(model, example_bchw)


def _check_layer(name: str, layer: nn.Module) -> None:
    if isinstance(layer, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise UnsupportedModelError(
            f"{name}: {type(layer).__name__} shares out batches itself; return the network that it wraps"
        )
    if type(layer).__name__ == "OptimizedModule" or layer._compiled_call_impl is not None:
        raise UnsupportedModelError(
            f"{name}: torch.compile makes other code elsewhere and later; return the network itself"
        )
    if isinstance(layer, torch.jit.ScriptModule) and "running_mean" in dict(
        layer.named_buffers(recurse=False)
    ):
        raise UnsupportedModelError(
            f"{name}: BatchNorm in a scripted or traced layer is out of reach; return the nn.Module itself"
        )
    if isinstance(layer, nn.SyncBatchNorm):
        raise UnsupportedModelError(f"{name}: SyncBatchNorm adds across workers; use BatchNorm")
    if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.momentum is None:
        raise UnsupportedModelError(
            f"{name}: BatchNorm with momentum=None averages over all earlier batches; give it a momentum"
        )
    if isinstance(layer, _BatchNorm) and layer.running_mean is not None:
        _check_statistics(name, layer)


def _check_statistics(name: str, layer: _BatchNorm) -> None:
    if layer.running_var is None or layer.num_batches_tracked is None:
        raise UnsupportedModelError(
            f"{name}: BatchNorm without running_var or num_batches_tracked; leave its buffers as they are"
        )


def _check_buffers(model: nn.Module, example_bchw: torch.Tensor) -> None:
    statistics = {
        f"{name}.{buffer}" if name else buffer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
        for buffer in ("running_mean", "running_var", "num_batches_tracked")
    }
    before = _copied(model)
    was_training = model.training
    with torch.random.fork_rng(devices=_cuda_indices(example_bchw)), torch.no_grad():
        model.train()(example_bchw)
    changed = [name for name, tensor in _copied(model).items() if not _same(tensor, before.get(name))]
    _restore(model, before)
    model.train(was_training)
    for name in before.keys() - _copied(model).keys():
        raise UnsupportedModelError(f"{name}: is removed in the forward pass; keep what build has made")
    for name in changed:
        if name not in before:
            raise UnsupportedModelError(f"{name}: is made in the forward pass; make it in build")
        if name not in statistics:
            raise UnsupportedModelError(
                f"{name}: a forward pass changes it; only BatchNorm may keep statistics"
            )


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in tensors}


def _same(after: torch.Tensor, before: torch.Tensor | None) -> bool:
    if before is None or after.shape != before.shape or after.dtype != before.dtype:
        return False
    return bool(torch.equal(after.reshape(-1).view(torch.uint8), before.reshape(-1).view(torch.uint8)))


@torch.no_grad()
def _restore(model: nn.Module, before: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name in before and tensor.shape == before[name].shape:
            tensor.copy_(before[name])


def _cuda_indices(example: torch.Tensor) -> list[int]:
    return [example.device.index or 0] if example.device.type == "cuda" else []
