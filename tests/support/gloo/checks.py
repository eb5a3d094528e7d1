"""Checks and data that several proofs on gloo groups share."""

from __future__ import annotations

import numpy as np

from seedbed.arithmetic.reduction_tree import leaf_ranges
from support.gloo.cases import Case
from support.gloo.tasks import (
    Numbers,
    TaskOutcome,
)


def check_run(outcomes: list[TaskOutcome], case: Case) -> None:
    """Equal on every worker, and every worker did its own leaves."""
    world = len(outcomes)
    assert [o.leaves_run for o in outcomes] == [len(r) * case.steps for r in leaf_ranges(case.leaves, world)]
    assert len({(o.digest, o.losses, o.witnesses) for o in outcomes}) == 1


def crafted_numbers(leaves: int, mutation: str | None = None) -> Numbers:
    """Magnitudes from subnormal to 1e30, cancellations and -0.0 in every leaf."""
    draw = np.random.Generator(np.random.Philox(key=leaves))
    values = draw.standard_normal((leaves, 700)) * 10.0 ** draw.integers(-44, 30, (leaves, 700))
    values[:, :50] = -0.0
    return Numbers(leaves_ln=values.astype(np.float32), mutation=mutation)


def tree_of(leaves: list[np.ndarray]) -> np.ndarray:
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return tree_of(leaves[:middle]) + tree_of(leaves[middle:])
