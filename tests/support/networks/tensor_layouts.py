"""Small networks that hold their tensors in odd ways, one per mechanism; also user code: entrypoint Net, argument case.

What torchvision and timm do is here in small: mnasnet0_5 (versions), coat_lite_tiny (shared layers), frozen parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Network(nn.Module):
    """Convolution, BatchNorm, something in the middle, linear."""

    def __init__(self, classes: int, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.middle = middle or nn.Identity()
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.middle(F.relu(self.norm(self.conv(x)))).mean((2, 3)))


class Pair(nn.Module):
    """Two layers in a row."""

    def __init__(self, a: nn.Module, b: nn.Module) -> None:
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x)))


class Scale(nn.Module):
    """Multiplies by a buffer, or leaves it alone."""

    def __init__(self, value: torch.Tensor, *, persistent: bool = True, used: bool = False) -> None:
        super().__init__()
        self.register_buffer("value", value, persistent=persistent)
        self.used = used

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.value if self.used else x


class TwoNames(nn.Module):
    """One buffer under two names."""

    def __init__(self) -> None:
        super().__init__()
        value = torch.rand(8, 1, 1)
        self.register_buffer("p", value)
        self.register_buffer("q", value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.p + self.q


class Views(nn.Module):
    """Two parameters that are parts of one tensor."""

    def __init__(self, first: slice, second: slice) -> None:
        super().__init__()
        whole = torch.rand(16, 8, 1, 1) / 8
        self.a, self.b = nn.Parameter(whole[first]), nn.Parameter(whole[second])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(x, self.a), self.b)


class Columns(nn.Module):
    """A parameter with gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter((torch.rand(8, 16) / 8)[:, :8])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.matrix).permute(0, 3, 1, 2)


class Followed(nn.Module):
    """A BatchNorm, or a convolution, with a tensor of it under a further name."""

    def __init__(self, layer: nn.Module, tensor: Callable[[Any], torch.Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("second", tensor(layer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + 0.0 * self.second.sum()


class Unsaved(nn.BatchNorm2d):
    """Statistics that state_dict leaves out."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            value = getattr(self, name)
            del self._buffers[name]
            self.register_buffer(name, value, persistent=False)


class Extra(nn.Module):
    """State that is no tensor of a name."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def get_extra_state(self) -> Any:
        return self.value

    def set_extra_state(self, state: Any) -> None:
        self.value = state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Drawn(nn.Module):
    """Random numbers in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.phases = torch.rand(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.phases


class Versioned(nn.Module):
    """Loads by the version that torch's state_dict carries beside its tensors, as torchvision's MNASNet does."""

    _version = 2

    def __init__(self, without: str) -> None:
        super().__init__()
        self.weight, self.without = nn.Parameter(torch.ones(8, 1, 1)), without

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        if metadata.get("version") is None and self.without == "raise":
            raise ValueError("version should be set to 1 or 2 instead of None")
        if metadata.get("version") is None and self.without == "rescale":
            state[prefix + "weight"] = state[prefix + "weight"] * 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


class Nothing(Network):
    """Keeps nothing."""

    def state_dict(self, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        return {}


class Prefixed(Network):
    """Keeps everything, under other names."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return OrderedDict((f"net.{n}", t) for n, t in super().state_dict(*args, **kwargs).items())

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict({n.removeprefix("net."): t for n, t in state.items()}, strict, assign)


class HeadOnly(nn.Linear):
    """A layer that keeps its weight alone."""

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight if keep_vars else self.weight.detach()


class Removing(Network):
    """Removes a buffer in the first forward pass."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.register_buffer("gone", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "gone"):
            del self.gone
        return super().forward(x)


class Listed(nn.Module):
    """Hides a layer in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Conv2d(8, 8, 1)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[0](x)


class MadeLate(Network):
    """Makes a layer in the first forward pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "late"):
            self.late = nn.Linear(8, 8)
        return self.head(self.late(F.relu(self.norm(self.conv(x))).mean((2, 3))))


def changed(change: Callable[[Any], Any]) -> Callable[[int], nn.Module]:
    """Return a builder of the plain network with a change."""

    def build(classes: int) -> nn.Module:
        network = Network(classes)
        change(network)
        return network

    return build


def middle(make: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    """Return a builder of the plain network with something in the middle."""
    return lambda classes: Network(classes, make())


def twice(layer: nn.Module) -> nn.Module:
    return Pair(layer, layer)


def tied() -> nn.Module:
    pair = Pair(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
    pair.b.weight = pair.a.weight  # type: ignore[assignment, union-attr]
    return pair


def uninitialised(network: Any) -> None:
    network.middle = Scale(torch.empty(8))


def saving_hook(change: Callable[[Any], Any]) -> Callable[[int], nn.Module]:
    def hook(_module: nn.Module, state: Any, _prefix: str, _metadata: Any) -> None:
        change(state)

    return changed(lambda network: network._register_state_dict_hook(hook))


def halved(state: Any) -> None:
    state["head.weight"] = state["head.weight"].half()


def shifted(network: Any, _prefix: str, _keep_vars: bool) -> None:
    with torch.no_grad():
        network.head.weight.add_(1.0)


def doubling_load_hook(network: Any) -> None:
    def hook(state: Any, *_rest: Any) -> None:
        state["head.weight"] = state["head.weight"] * 2

    network._register_load_state_dict_pre_hook(hook)


def one_statistic(network: Any) -> None:
    network.middle = nn.BatchNorm2d(8)
    network.middle.running_mean = network.norm.running_mean


def uncounted(network: Any) -> None:
    network.norm.num_batches_tracked = None


def contained(network: Any) -> None:
    network.middle.parent = network


def compiled(classes: int) -> nn.Module:
    return torch.compile(Network(classes), backend="eager")  # type: ignore[return-value]


def normed(network: Any) -> None:
    network.conv = nn.utils.parametrizations.weight_norm(network.conv)


def pruned(network: Any) -> None:
    from torch.nn.utils import prune

    prune.l1_unstructured(network.conv, "weight", 0.5)


def partly_frozen(network: Any) -> None:
    network.conv.requires_grad_(False)
    network.norm.eval()


def buffer(dtype: torch.dtype, **options: Any) -> Callable[[int], nn.Module]:
    return middle(lambda: Scale(torch.ones(3).to(dtype), **options))


KEPT: dict[str, tuple[Callable[[int], nn.Module], int]] = {
    "plain": (Network, 9),
    "a layer used twice": (middle(lambda: twice(nn.Conv2d(8, 8, 1))), 13),
    "tied weights": (middle(tied), 13),
    "one BatchNorm under two names": (middle(lambda: twice(nn.BatchNorm2d(8))), 19),
    "one buffer under two names": (middle(TwoNames), 11),
    "parts of one tensor that do not overlap": (middle(lambda: Views(slice(8), slice(8, 16))), 11),
    "a bool buffer": (buffer(torch.bool), 10),
    "an int8 buffer": (buffer(torch.int8), 10),
    "a uint16 buffer": (buffer(torch.uint16), 10),
    "a float16 buffer": (buffer(torch.float16), 10),
    "a float64 buffer": (buffer(torch.float64), 10),
    "a buffer without elements": (middle(lambda: Scale(torch.zeros(0))), 10),
    "a buffer without dimensions": (middle(lambda: Scale(torch.tensor(True))), 10),
    "a transposed buffer": (middle(lambda: Scale(torch.rand(3, 4).T)), 10),
    "a complex buffer that is not saved": (buffer(torch.complex64, persistent=False), 9),
    "a constant buffer that is not saved": (buffer(torch.float32, persistent=False), 9),
    "a version that a load does not need": (middle(lambda: Versioned("take")), 10),
    "weight norm": (changed(normed), 10),
    "pruned weights": (changed(pruned), 10),
    "frozen parts": (changed(partly_frozen), 9),
}
"""By name: the builder, and how many tensors `state_dict()` has."""

REFUSED: dict[str, tuple[Callable[[int], nn.Module], tuple[str, ...]]] = {
    "no state": (Nothing, ("conv.weight: state_dict() leaves it out",)),
    "other names": (Prefixed, ("conv.weight: state_dict() leaves it out",)),
    "a layer that keeps half": (changed(lambda network: setattr(network, "head", HeadOnly(8, 3))), ("head.bias: state_dict() leaves it out",)),
    "a hook that adds": (saving_hook(lambda state: state.update(more=torch.ones(1))), ("more: state_dict() holds it",)),
    "a hook that drops": (saving_hook(lambda state: state.pop("norm.running_var")), ("norm.running_var",)),
    "a hook that rounds": (saving_hook(halved), ("head.weight: state_dict() gives another value",)),
    "a hook that raises": (saving_hook(lambda state: state["nope"]), ("state_dict() raised KeyError",)),
    "statistics that are not saved": (middle(lambda: Unsaved(8)), ("middle.running_mean", "persistent=True")),
    "statistics in float64": (middle(lambda: nn.BatchNorm2d(8, affine=False).double()), ("middle.running_mean",)),
    "extra state": (middle(lambda: Extra({"calls": 1})), ("middle: get_extra_state()", "make it a buffer")),
    "a tensor as extra state": (middle(lambda: Extra(torch.ones(3))), ("middle: get_extra_state()",)),
    "parameters that overlap": (middle(lambda: Views(slice(8), slice(4, 12))), ("middle.b: shares memory with middle.a",)),
    "a parameter with gaps": (middle(Columns), ("middle.matrix", ".contiguous()")),
    "a buffer that is a parameter": (middle(lambda: Followed(nn.Conv2d(8, 8, 1), lambda layer: layer.weight.data)), ("middle.second: shares memory with middle.layer.weight",)),
    "a statistic under a second name": (middle(lambda: Followed(nn.BatchNorm2d(8), lambda layer: layer.running_mean)), ("middle.second: shares memory with middle.layer.running_mean",)),
    "a view of a statistic": (middle(lambda: Followed(nn.BatchNorm2d(8), lambda layer: layer.running_var.view(2, 4))), ("middle.second: shares memory with middle.layer.running_var",)),
    "an expanded buffer": (middle(lambda: Scale(torch.ones(1).expand(3))), ("middle.value", ".contiguous()")),
    "a complex buffer": (buffer(torch.complex64), ("middle.value", "complex64", "torch.view_as_real")),
    "a bfloat16 buffer": (buffer(torch.bfloat16), ("middle.value", "bfloat16", "float32")),
    "a float8 buffer": (buffer(torch.float8_e4m3fn), ("middle.value", "float8_e4m3fn")),
    "a sparse buffer": (middle(lambda: Scale(torch.eye(3).to_sparse())), ("middle.value", "sparse_coo", "to_dense")),
    "a sparse buffer that is not saved": (middle(lambda: Scale(torch.eye(3).to_sparse(), persistent=False)), ("middle.value", "to_dense")),
    "on the meta device": (lambda classes: Network(classes).to("meta"), ("conv.weight: lies on device meta",)),
    "a negated view": (middle(lambda: Scale(torch.imag(torch.ones(3, dtype=torch.complex64).conj()))), ("middle.value", ".resolve_neg()")),
    "two layers with one statistic": (changed(one_statistic), ("shares memory with norm.running_mean",)),
    "statistics that do not count": (changed(uncounted), ("norm: BatchNorm without", "num_batches_tracked")),
    "a layer that holds itself": (changed(contained), ("a layer holds itself",)),
    "a state_dict that changes weights": (changed(lambda network: network.register_state_dict_pre_hook(shifted)), ("head.weight: state_dict() gives another value",)),
    "a buffer removed late": (Removing, ("gone: is removed in the forward pass",)),
    "a layer made late": (MadeLate, ("late.weight: is made in the forward pass", "make it in build")),
    "made in inference mode": (middle(torch.inference_mode()(lambda: nn.Conv2d(8, 8, 1))), ("middle.weight: was made in torch.inference_mode()",)),
    "a lazy layer": (middle(lambda: nn.LazyConv2d(8, 1)), ("middle.weight: a lazy layer", "run an image through")),
    "lazy statistics": (middle(lambda: nn.LazyBatchNorm2d(affine=False)), ("middle.running_mean: a lazy layer",)),
    "NaN": (changed(lambda net: nn.init.constant_(net.head.weight, float("nan"))), ("head.weight", "not finite")),
    "in evaluation mode": (lambda classes: Network(classes).eval(), ("evaluation mode", ".train()")),
    "compiled": (compiled, ("the model: torch.compile", "return the network itself")),
    "compiled in place": (changed(lambda network: network.head.compile()), ("head: torch.compile",)),
    "wrapped by DataParallel": (lambda classes: nn.DataParallel(Network(classes)), ("DataParallel", "it wraps")),
}  # fmt: skip
"""By name: the builder, and what the refusal says."""

LOST: dict[str, tuple[Callable[[int], nn.Module], tuple[str, ...]]] = {
    "a version that a load wants": (middle(lambda: Versioned("raise")), ("wants versions", "version should be")),
    "a load that rescales without a version": (
        middle(lambda: Versioned("rescale")),
        ("wants versions", "middle.weight has another value"),
    ),
    "a hook that doubles on loading": (changed(doubling_load_hook), ("head.weight has another value",)),
    "a buffer drawn at random and not saved": (
        middle(lambda: Scale(torch.rand(8, 1, 1), persistent=False, used=True)),
        ("middle.value is drawn at random", "persistent=True"),
    ),
    "a layer in a list": (middle(Listed), ("other outputs", "nn.ModuleList")),
    "an attribute drawn at random": (middle(Drawn), ("other outputs", "register what is drawn as a buffer")),
}  # fmt: skip
"""What only shows when a new network is given the export, and what the refusal says."""


class Net:
    """The entrypoint; the case is an argument with dashes for spaces."""

    def build(self, args: dict[str, str]) -> nn.Module:
        make, _ = (KEPT | REFUSED | LOST)[args["case"].replace("-", " ")]
        return make(int(args["classes"]))
