"""The gradient of a leaf: forward and backward over m rows, from the pre-step state and (seed, step, leaf).

Shapes: m rows, h w c of an image, k classes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from seedbed.arithmetic.arithmetic_config import Normalisation
from seedbed.arithmetic.batch_protocols import LeafRows
from seedbed.arithmetic.generator_seeding import seed_leaf
from seedbed.arithmetic.losses import leaf_loss
from seedbed.arithmetic.model_replica import Replica
from seedbed.models.model_errors import ModelOutputError

# pixels are only read; torch warns of every array that it could not write to
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")

Contribution: TypeAlias = list[torch.Tensor]
"""What a leaf adds to a step: gradients in parameter order, running statistics, loss; all float32."""


def add_contributions(left: Contribution, right: Contribution) -> Contribution:
    """Add `right` to `left` in place and return `left`."""
    torch._foreach_add_(left, right)
    return left


def contribution_names(replica: Replica) -> list[str]:
    """Return a description of each tensor of a contribution, for messages."""
    return [*(f"gradient of {name}" for name in replica.trained), "BatchNorm statistics", "loss"]


def leaf_contribution(replica: Replica, step: int, rows: LeafRows) -> Contribution:
    """Run one leaf on the pre-step state and return what it adds to the step.

    Raises ModelOutputError if the output has the wrong shape, if a parameter or buffer besides BatchNorm's
    statistics was changed, or if a trained parameter has no gradient. A missing gradient is not a zero
    gradient: momentum and weight decay would still change the parameter.
    """
    replica.statistics.restore()
    replica.read_only.remember()
    seed_leaf(replica.arithmetic.seed, step, rows.leaf, device=replica.device)
    loss = _loss(replica, rows)
    loss.backward()  # type: ignore[no-untyped-call]
    replica.read_only.check("a forward or backward pass")
    return [*_taken_gradients(replica), replica.statistics.contribution(), loss.detach()]


def _taken_gradients(replica: Replica) -> list[torch.Tensor]:
    # never accumulate leaves in .grad: where autograd reaches a parameter twice, or a hook of the model
    # reads .grad, the sum would depend on which leaves a worker owns
    taken = []
    for name, parameter in replica.trained.items():
        if parameter.grad is None:
            raise ModelOutputError(f"parameter {name} took no part in the loss; freeze it or use it")
        taken.append(parameter.grad)
        parameter.grad = None
    return taken


def _loss(replica: Replica, rows: LeafRows) -> torch.Tensor:
    arithmetic = replica.arithmetic
    assert len(rows.labels_m) == arithmetic.leaf_rows, f"a leaf has {arithmetic.leaf_rows} rows"
    images = images_of(replica, rows.pixels_mhwc)
    # a copy: a feed may give read-only memory of an object store, and user code may write to its labels
    labels = torch.from_numpy(np.array(rows.labels_m)).to(replica.device)
    if replica.objective is not None:
        with _autocast(replica):
            return _checked_loss(replica.objective(replica.model, images, labels)).float()
    if arithmetic.mixup_alpha == 0.0:
        return leaf_loss(arithmetic, forward(replica, images), labels)
    share, order = _mixup_draw(arithmetic.mixup_alpha, arithmetic.leaf_rows)
    order = order.to(replica.device)
    logits = forward(replica, images * share + images[order] * (1.0 - share))
    own = leaf_loss(arithmetic, logits, labels)
    return own * share + leaf_loss(arithmetic, logits, labels[order]) * (1.0 - share)


def _checked_loss(loss: object) -> torch.Tensor:
    """Return the loss of a user's function. Raises ModelOutputError for what is no scalar with a gradient."""
    if not isinstance(loss, torch.Tensor):
        problem = f"the loss is of type {type(loss).__name__}, a tensor is needed"
        raise ModelOutputError(f"{problem}; {_loss_fix(loss)}")
    if loss.dim() != 0:
        fix = "take its mean over the rows: .mean()"
        raise ModelOutputError(f"the loss has shape {tuple(loss.shape)}, a scalar is needed; {fix}")
    if not loss.is_floating_point():
        dtype = str(loss.dtype).removeprefix("torch.")
        raise ModelOutputError(
            f"the loss is {dtype}, a floating number is needed; return a real, floating loss"
        )
    if not loss.requires_grad:
        fix = "compute it from model(batch.images_mchw), without .detach(), torch.no_grad() or torch.tensor()"
        raise ModelOutputError(f"the loss has no gradient; {fix}")
    return loss


def _loss_fix(loss: object) -> str:
    if loss is None:
        return "end loss(model, batch) with return"
    if isinstance(loss, tuple | list | Mapping):
        return "return the loss alone"
    if callable(loss):
        return "call it with logits and batch.labels_m"
    return "return the tensor itself, without .item(), float() or .numpy()"


def _mixup_draw(alpha: float, rows: int) -> tuple[float, torch.Tensor]:
    """Draw a share from Beta(alpha, alpha), and partners; on the CPU, for equal numbers on every device."""
    gammas = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64))
    first, second = gammas.tolist()
    total = first + second
    return (first / total if total > 0.0 else 1.0), torch.randperm(rows)


def forward(replica: Replica, images_mchw: torch.Tensor) -> torch.Tensor:
    """Return float32 logits (m, k) in the replica's precision. Raises ModelOutputError on another shape."""
    with _autocast(replica):
        logits = replica.model(images_mchw)
    expected = (images_mchw.shape[0], replica.arithmetic.classes)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
        shown = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        mode = "training" if replica.model.training else "evaluation"
        fix = "return the logits alone: switch auxiliary outputs off, or write a loss(model, batch) for them"
        problem = f"in {mode} mode the model returned {shown}, expected a tensor of shape {expected}"
        raise ModelOutputError(f"{problem}; {fix}")
    return logits.float()


def _autocast(replica: Replica) -> contextlib.AbstractContextManager[object]:
    if replica.arithmetic.precision != "BFloat16":
        return contextlib.nullcontext()
    return torch.autocast(replica.device.type, dtype=torch.bfloat16)


def images_of(replica: Replica, pixels_mhwc: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return the normalized images (m, c, h, w) in the layout of the replica's weights."""
    layout = normalize_channels_last if replica.channels_last else normalize_pixels
    return layout(pixels_mhwc, replica.arithmetic.normalisation, replica.device)


def normalize_pixels(
    pixels_mhwc: npt.NDArray[np.uint8], normalisation: Normalisation, device: torch.device
) -> torch.Tensor:
    """Return float32 images (m, c, h, w), contiguous: pixel · 1/(255 std) - mean/std."""
    return normalize_channels_last(pixels_mhwc, normalisation, device).contiguous()


def normalize_channels_last(
    pixels_mhwc: npt.NDArray[np.uint8], normalisation: Normalisation, device: torch.device
) -> torch.Tensor:
    """Return the same images in channels-last layout."""
    pixels = torch.from_numpy(pixels_mhwc).to(device)
    rows, height, width, channels = pixels.shape
    scale, offset = _constants(normalisation, width, device)
    # whole rows of an image at once: a broadcast along three channels would not vectorise
    lines = pixels.view(rows * height, width * channels).to(torch.float32).mul_(scale).add_(offset)
    return lines.view(rows, height, width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=32)
def _constants(
    normalisation: Normalisation, width: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and offset of one row of an image, shape (w · c,), rounded once from float64."""
    pairs = list(zip(normalisation.mean, normalisation.std, strict=True))
    scale = torch.tensor([1.0 / (255.0 * std) for _, std in pairs], dtype=torch.float64)
    offset = torch.tensor([-mean / std for mean, std in pairs], dtype=torch.float64)
    line = (scale.to(torch.float32).repeat(width), offset.to(torch.float32).repeat(width))
    return line[0].to(device), line[1].to(device)
