"""Does plain torch load what is exported? A network of the user's is built anew and given the model file.

What it holds and answers then must be what the trained network holds and answers, bit for bit. It is built
with another seed, so that whatever is drawn and not kept shows up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.evaluation import evaluation_logits
from seedbed.arithmetic.model_replica import Replica
from seedbed.feed import EvaluationBatch, MicroBatch
from seedbed.models.state_dict import kept_tensors, left_out_buffers, same_bits, shared_tensor
from seedbed.runs.tensor_blobs import serialised
from seedbed.training.worker_config import WorkerConfig
from seedbed.usercode import UserModel, load_entrypoint
from seedbed.usercode.user_error_messages import model_error

_OWN = "let load_state_dict() and state_dict() be torch's own"


def check_builds(user: UserModel, network: nn.Module, arithmetic: Arithmetic) -> nn.Module:
    """Build another network like `network`; refuse what both of them share, and memory without a value.

    Raises UserError ModelError. Return the other network.
    """
    with _filled_memory():
        built = user.build(classes=arithmetic.classes, seed=arithmetic.seed)
    name = shared_tensor(network, built)
    if name is not None:
        problem = f"{name} is one tensor in every network that build returns: trained once, trained for all"
        raise model_error("entrypoint", user.entrypoint, problem, "make it anew within build")
    return built


def check_export(
    user: UserModel,
    network: nn.Module,
    built: nn.Module,
    arithmetic: Arithmetic,
    rows: MicroBatch,
    *,
    device: str,
) -> None:
    """Refuse a network whose export would not give the same network. Raises UserError ModelError.

    `network` and `built` are as `check_builds` takes and returns them.
    """
    _require_initialised(user, network, built)
    _require_no_parameters_outside(user)
    left_out = {name: buffer.clone() for name, buffer in left_out_buffers(built).items()}
    kept = Replica(arithmetic, built, device, objective=user.objective)
    fresh = load_export(user, arithmetic, serialised(kept.named_weights()))
    for name, buffer in left_out_buffers(fresh).items():
        if name not in left_out or not same_bits(buffer, left_out[name]):
            problem = f"{name} is drawn at random and not in state_dict(), so that it would be lost"
            raise model_error("entrypoint", user.entrypoint, problem, "register it with persistent=True")
    loaded = Replica(arithmetic, fresh, device, objective=user.objective)
    if not same_bits(*(_answers(user, replica, rows) for replica in (kept, loaded))):
        problem = (
            "the exported model gives other outputs when it is loaded: it draws what is not in state_dict()"
        )
        fix = "register what is drawn as a buffer, and keep layers in nn.ModuleList or nn.ModuleDict"
        raise model_error("entrypoint", user.entrypoint, problem, fix)


@contextlib.contextmanager
def _filled_memory() -> Iterator[None]:
    """Let deterministic mode fill the memory that torch.empty gives: with NaN, or the largest integer."""
    switches: Any = torch.utils.deterministic
    before = switches.fill_uninitialized_memory
    switches.fill_uninitialized_memory = True
    try:
        yield
    finally:
        switches.fill_uninitialized_memory = before


def _require_initialised(user: UserModel, network: nn.Module, filled: nn.Module) -> None:
    own, other = (kept_tensors(each) | left_out_buffers(each) for each in (network, filled))
    for name, tensor in own.items():
        if name in other and not same_bits(tensor, other[name]):
            problem = f"{name} holds uninitialised memory, which differs from process to process"
            raise model_error(
                "entrypoint", user.entrypoint, problem, "give it a value: torch.empty gives none"
            )


def _require_no_parameters_outside(user: UserModel) -> None:
    """Refuse parameters of the entrypoint's own that a loss has sent gradients to: nothing trains them."""
    for name, value in getattr(user.subject, "__dict__", {}).items():
        if isinstance(value, torch.Tensor):
            own = {name: value}
        elif isinstance(value, nn.Module):
            own = {f"{name}.{below}": parameter for below, parameter in value.named_parameters()}
        else:
            continue
        for path, parameter in own.items():
            if parameter.is_leaf and parameter.grad is not None:
                problem = f"{path} of the entrypoint gets a gradient and is no parameter of the network"
                fix = "make it a layer of what build returns, or freeze it"
                raise model_error("entrypoint", user.entrypoint, problem, fix)


def require_loadable(config: WorkerConfig, weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse to export what plain torch would not load: user code may have changed since `check_export`."""
    source = config.model
    if source.entrypoint is not None:
        user = load_entrypoint(source.entrypoint, source.args, source.code)
        load_export(user, config.arithmetic, serialised(weights))


def load_export(user: UserModel, arithmetic: Arithmetic, model_file: bytes) -> nn.Module:
    """Return a freshly built network with the tensors of a model file, loaded as plain torch loads them.

    Raises UserError ModelError where it does not take them, or holds others afterwards.
    """
    from safetensors.torch import load

    given = load(model_file)
    fresh = user.build(classes=arithmetic.classes, seed=arithmetic.seed + 1)
    problem = _load_problem(fresh, given)
    if problem is not None:
        raise model_error("entrypoint", user.entrypoint, *_explained(user, arithmetic, given, problem))
    return fresh


def _load_problem(network: nn.Module, given: Mapping[str, torch.Tensor]) -> str | None:
    """Load the tensors; return what is wrong then, None where all is well."""
    try:
        network.load_state_dict({name: tensor.clone() for name, tensor in given.items()}, strict=True)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    own = kept_tensors(network)
    for name in sorted(given.keys() | own.keys()):
        if name not in own or name not in given or not same_bits(own[name], given[name]):
            return f"{name} has another value afterwards"
    return None


def _explained(
    user: UserModel, arithmetic: Arithmetic, given: Mapping[str, torch.Tensor], problem: str
) -> tuple[str, str]:
    """Return problem and fix; a network that only lacks the versions of a state_dict is told so."""
    again = user.build(classes=arithmetic.classes, seed=arithmetic.seed + 1)
    versioned = again.state_dict()
    versioned.clear()
    versioned.update(given)
    told = f"load_state_dict() does not take the exported model: {problem}"
    if _loads_with_versions(again, versioned):
        told = f"load_state_dict() wants versions (_metadata), which a model file does not hold: {problem}"
        return told, "let _load_from_state_dict() take a missing version for the present one"
    return told, _OWN


def _loads_with_versions(network: nn.Module, versioned: Mapping[str, torch.Tensor]) -> bool:
    try:
        network.load_state_dict(versioned, strict=True)
    except Exception:
        return False
    own = kept_tensors(network)
    return all(name in own and same_bits(own[name], tensor) for name, tensor in versioned.items())


def _answers(user: UserModel, replica: Replica, rows: MicroBatch) -> torch.Tensor:
    batch = EvaluationBatch(
        index=0,
        count=len(rows.labels_m),
        rows_b=rows.rows_m,
        labels_b=rows.labels_m,
        pixels_bhwc=rows.pixels_mhwc,
    )
    with (
        user.attribute_errors("forward"),
        contextlib.closing(evaluation_logits(replica, [batch], split="test")) as evaluated,
    ):
        return next(logits_bk for _, logits_bk in evaluated)
