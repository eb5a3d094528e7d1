"""Determinism probe: checks that a user's network is a function of weights, rows and (seed, step, leaf).

Computes two leaves, again in another order with an evaluation in between, and once more with a new network in
another order, as after a resume or with other workers. The second leaf is one of a late step, to find effects
of batch counts. Names what differs, and state that leaves change in tensors, attributes, counters,
generators, closures and globals, even without an effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.batch_protocols import LeafRows
from seedbed.arithmetic.evaluation import evaluation_logits
from seedbed.arithmetic.leaf_gradient import Contribution, contribution_names, leaf_contribution
from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.read_only_tensors import registered_tensors
from seedbed.models.model_errors import ModelOutputError
from seedbed.models.state_dict import same_bits
from seedbed.usercode.entrypoint_loader import UserModel
from seedbed.usercode.object_state import ObjectState, first_difference, object_state
from seedbed.usercode.user_error_messages import network_error, one_line

_LATE = 1_000_000
"""A step, and a batch count, late in a training."""
_MOVED = 1.0 + 2.0**-7
"""Factor on the weights then, to find values cached from the first weights."""
_ENTRYPOINT, _MODULE = "entrypoint ", "module "
_FIX = "draw random numbers from default generators alone, and keep no state outside of BatchNorm"

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Leaf:
    """A leaf early or late in the training; in an evaluation it is the batch `index`."""

    rows: LeafRows
    index: int
    late: bool

    @property
    def count(self) -> int:
        return len(self.rows.labels_m)

    @property
    def labels_b(self) -> npt.NDArray[np.int64]:
        return self.rows.labels_m

    @property
    def pixels_bhwc(self) -> npt.NDArray[np.uint8]:
        return self.rows.pixels_mhwc


@dataclass(frozen=True, kw_only=True, slots=True)
class _Observed:
    """The tensors of one computation, and the state of all objects after it."""

    tensors: Tensors
    state: ObjectState


def probe_step(
    user: UserModel, arithmetic: Arithmetic, leaves: Sequence[LeafRows], *, device: str = "cpu"
) -> None:
    """Reject a network that gives other bits when run again, or in which leaves leave state.

    `leaves` are micro-batches of step 0; the first two are used. Raises UserError ModelError
    `not deterministic: WHAT`; ModelError for other failures of the network too.
    """
    early = _Leaf(rows=leaves[0], index=0, late=False)
    late = _Leaf(rows=leaves[min(1, len(leaves) - 1)], index=1, late=True)
    one, other = (_Network(user, arithmetic, device) for _ in range(2))
    _require_equal(user, one.weights(), other.weights(), when="when built twice")
    one.begin()
    other.begin()
    forth = [one.run(early), one.run(late)]
    evaluated = one.evaluate([early, late])
    back = [one.run(late), one.run(early)][::-1]
    evaluated_back = one.evaluate([late, early])[::-1]
    reverse = [other.run(late), other.run(early)][::-1]
    if any(_unequal(a.tensors, b.tensors) for a, b in zip(forth * 2, back + reverse, strict=True)):
        _raise_by_cause(user, _Network(user, arithmetic, device), [early, late], forth, back, reverse)
    for once, again in zip(evaluated, evaluated_back, strict=True):
        _require_equal(user, once.tensors, again.tensors, when="when it is evaluated again")
    for once, again in zip(forth + evaluated, back + evaluated_back, strict=True):
        _require_equal_state(user, once.state, again.state)
    for once, again in zip(forth, reverse, strict=True):
        _require_equal_state(user, *_comparable(one, once.state, other, again.state))


class _Network:
    """A new network that leaves and evaluations are run on."""

    def __init__(self, user: UserModel, arithmetic: Arithmetic, device: str) -> None:
        self._user = user
        network = user.build(classes=arithmetic.classes, seed=arithmetic.seed)
        with user.attribute_errors("train()"), _as_model_error(user):
            self._replica = Replica(arithmetic, network, device, objective=user.objective)
        statistics = {id(tensor) for tensor in self._replica.statistics.tensors}
        entries = [entry for entry in registered_tensors(network) if id(entry.tensor) not in statistics]
        self._fixed = {entry.name: (entry.tensor, entry.tensor.detach().clone()) for entry in entries}
        self.initial: ObjectState = {}

    def begin(self) -> None:
        """Save the present state as that before the first leaf."""
        self.initial = self.state()

    def weights(self) -> Tensors:
        """Return its first weights."""
        return {f"{name} (initial value)": t for name, t in self._replica.named_weights().items()}

    def run(self, leaf: _Leaf) -> _Observed:
        """Compute a leaf from the initial weights. Raises UserError where it changes a tensor."""
        replica = self._replica
        self._set_weights(late=leaf.late)
        before = {name: tensor.detach().clone() for name, (tensor, _) in self._fixed.items()}
        with self._user.attribute_errors("forward and backward"), _as_model_error(self._user):
            contribution = leaf_contribution(replica, _LATE if leaf.late else 0, leaf.rows)
        _require_dense(self._user, replica, contribution)
        for name, (tensor, _) in self._fixed.items():
            if not same_bits(tensor, before[name]):
                problem = f"{name}: a forward or backward pass changes it"
                raise network_error(self._user.entrypoint, problem, "leave it to the optimizer")
        self._set_weights(late=False)
        named = {f"{name} (leaf {leaf.rows.leaf})": t for name, t in _named(replica, contribution)}
        return _Observed(tensors=named, state=self.state())

    @torch.no_grad()
    def _set_weights(self, *, late: bool) -> None:
        """Set counts and weights to those of the start, or to those of a late step."""
        statistics = self._replica.statistics
        statistics.count_from(_LATE if late else None)
        statistics.restore()
        for tensor, value in self._fixed.values():
            tensor.copy_(value)
        if late:
            torch._foreach_mul_(list(self._replica.trained.values()), _MOVED)

    def evaluate(self, batches: Sequence[_Leaf]) -> list[_Observed]:
        """Evaluate batches in their order, as between two steps."""
        observed = []
        with (
            self._user.attribute_errors("an evaluation"),
            _as_model_error(self._user),
            closing(evaluation_logits(self._replica, batches, split="probe")) as evaluated,
        ):
            for batch, logits_bk in evaluated:
                tensors = {f"logits (evaluation batch {batch.index})": logits_bk}
                observed.append(_Observed(tensors=tensors, state=self.state()))
        return observed

    def state(self) -> ObjectState:
        """Return the state of the network's objects, the entrypoint and the globals of the user's modules."""
        modules = self._user.modules()
        roots: dict[str, object] = {"": self._replica.model}
        roots[_ENTRYPOINT + self._user.entrypoint] = self._user.subject
        roots |= {_MODULE + name: module for name, module in modules.items()}
        return object_state(roots, own_modules=modules)


@contextmanager
def _as_model_error(user: UserModel) -> Iterator[None]:
    """Convert a ModelOutputError of the arithmetic into a UserError ModelError."""
    try:
        yield
    except ModelOutputError as error:
        problem, _, fix = one_line(error).partition("; ")
        raise network_error(user.entrypoint, problem, fix or "change the network") from error


def _require_dense(user: UserModel, replica: Replica, contribution: Contribution) -> None:
    for name, tensor in _named(replica, contribution):
        if tensor.layout != torch.strided:
            problem, fix = f"{name} is sparse, leaves add up dense ones", "build the layer with sparse=False"
            raise network_error(user.entrypoint, problem, fix)


def _named(replica: Replica, contribution: Contribution) -> Iterator[tuple[str, torch.Tensor]]:
    yield from zip(contribution_names(replica), contribution, strict=True)


def _unequal(once: Tensors, again: Tensors) -> str | None:
    """Return the name of a tensor that differs, the loss before all others."""
    names = sorted(once, key=lambda name: not name.startswith("loss"))
    return next((name for name in names if not same_bits(once[name], again[name])), None)


def _require_equal(user: UserModel, once: Tensors, again: Tensors, *, when: str) -> None:
    name = _unequal(once, again)
    if name is not None:
        problem = f"not deterministic: {name} differs {when}"
        raise network_error(user.entrypoint, problem, _FIX)


def _raise_by_cause(
    user: UserModel,
    third: _Network,
    leaves: Sequence[_Leaf],
    forth: Sequence[_Observed],
    back: Sequence[_Observed],
    reverse: Sequence[_Observed],
) -> None:
    """Reject a network whose leaves differ; a third one shows the cause: chance, state or evaluations."""
    fresh = [third.run(leaf) for leaf in leaves]
    for once, again in zip(forth, fresh, strict=True):
        _require_equal(user, once.tensors, again.tensors, when="when run twice")
    remembers = _unequal(fresh[-1].tensors, third.run(leaves[-1]).tensors) is not None
    for once, again in zip(forth, reverse, strict=True):
        _require_equal(user, once.tensors, again.tensors, when="when leaves run in another order")
    when = "when leaves run in another order" if remembers else "after an evaluation"
    for once, again in zip(forth, back, strict=True):
        _require_equal(user, once.tensors, again.tensors, when=when)


def _require_equal_state(user: UserModel, once: ObjectState, again: ObjectState) -> None:
    """Reject a network whose state after a leaf depends on the leaves computed before."""
    found = first_difference(once, again)
    if found is not None:
        problem = f"not deterministic: {found} depends on the leaves and evaluations before"
        raise network_error(user.entrypoint, problem, _FIX)


def _comparable(
    one: _Network, once: ObjectState, other: _Network, again: ObjectState
) -> tuple[ObjectState, ObjectState]:
    """Return the states of two networks without what differed from the start, such as names."""

    def was_equal_at_start(path: str) -> bool:
        return one.initial.get(path) == other.initial.get(path) and not path.startswith(
            (_ENTRYPOINT, _MODULE)
        )

    states = ({p: value for p, value in state.items() if was_equal_at_start(p)} for state in (once, again))
    return next(states), next(states)
