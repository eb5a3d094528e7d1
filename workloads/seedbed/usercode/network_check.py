"""Check of a user's network: it must take the images of the recipe and return logits, in both modes.

Where it fails, other image sizes are tried, so that the message can name one that fits.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from seedbed.usercode.entrypoint_loader import UserModel
from seedbed.usercode.user_error_messages import network_error, one_line

if TYPE_CHECKING:
    from torch import Tensor, nn

_SIZES = (16, 24, 28, 32, 48, 56, 64, 75, 96, 112, 128, 160, 192, 224, 240, 256, 299, 320, 331, 384, 448, 512)
_CHANNELS = (3, 1, 4)


def check_network(user: UserModel, network: nn.Module, *, images_mchw: Tensor, classes: int) -> None:
    """Reject a network that does not take the images, a wrong output shape or dtype, unsupported layers.

    Raises UserError ModelError. Does not change the network.
    """
    from seedbed.models.supported_layers import UnsupportedModelError, check_supported

    with user.attribute_errors("forward", hint=lambda _: _fitting(network, images_mchw)):
        try:
            check_supported(network, images_mchw)
        except UnsupportedModelError as error:
            problem, _, fix = one_line(error).partition("; ")
            raise network_error(user.entrypoint, problem, fix or "change the network") from error
        names = _names(network)
        output = _evaluated(network, images_mchw)
    for name in sorted(names ^ _names(network)):
        problem = f"{name}: is {'removed' if name in names else 'made'} in an evaluation"
        raise network_error(user.entrypoint, problem, "create all layers in build, and do not remove them")
    _check_output(user, output, rows=images_mchw.shape[0], classes=classes)


def _names(network: nn.Module) -> frozenset[str]:
    from seedbed.models.state_dict import non_persistent_buffers, stored_tensors

    return frozenset(stored_tensors(network)) | frozenset(non_persistent_buffers(network))


def _evaluated(network: nn.Module, images_mchw: Tensor) -> object:
    import torch

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        was_training = network.training
        output: object = network.eval()(images_mchw)
        network.train(was_training)
    return output


def _check_output(user: UserModel, output: object, *, rows: int, classes: int) -> None:
    import torch

    expected = (rows, classes)
    fits = isinstance(output, torch.Tensor) and tuple(output.shape) == expected and output.is_floating_point()
    if not fits:
        problem = f"forward returned {_described(output)} for {rows} images of {classes} classes"
        fix = f"return a floating tensor of shape {expected}, the logits alone"
        raise network_error(user.entrypoint, problem, fix)
    assert isinstance(output, torch.Tensor)
    if output.isnan().any():
        fix = "fix the network or its first weights: nothing has been trained yet"
        raise network_error(user.entrypoint, "forward returned NaN before the first step", fix)


def _described(output: object) -> str:
    shape, dtype = getattr(output, "shape", None), getattr(output, "dtype", None)
    return type(output).__name__ if shape is None else f"{dtype} {tuple(shape)}"


def _fitting(network: nn.Module, images_mchw: Tensor) -> str | None:
    """Return image sizes that the network takes, as a fix; None where none was found."""
    rows, channels, size = images_mchw.shape[:3]
    if rows == 1 and _takes(network, rows=2, channels=channels, size=size):
        return (
            "set spec.training.batch.microSize to 2 or more: BatchNorm cannot train on one value per channel"
        )
    larger_first = sorted(_SIZES, key=lambda other: (other < size, other))
    for other_channels, other in itertools.product(_CHANNELS, (size, *larger_first)):
        if _takes(network, rows=2, channels=other_channels, size=other):
            return _image_fix(size, channels, other=other, other_channels=other_channels)
    return None


def _image_fix(size: int, channels: int, *, other: int, other_channels: int) -> str:
    fixes = []
    if other_channels != channels:
        fixes.append(f"give its first layer {channels} channels (RGB) instead of {other_channels}")
    if other != size:
        fixes.append(f"set the size in spec.training.augmentation to one that it takes, {other} (now {size})")
    return ", and ".join(fixes) or "fix the model's code"


def _takes(network: nn.Module, *, rows: int, channels: int, size: int) -> bool:
    import torch

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            network.train()(torch.full((rows, channels, size, size), 0.5))
    except Exception:
        return False
    return True
