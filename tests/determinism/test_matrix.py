"""One digest for every worker count, over the whole matrix, in real processes; and the faults that break it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.arithmetic.torch_determinism import enforce_determinism
from support.gloo.cases import Case, matrix
from support.gloo.checks import check_run, crafted_numbers, tree_of
from support.gloo.oracle import oracle_weights
from support.gloo.tasks import (
    Run,
    add_up,
    evaluation,
    fixed_point,
    small_messages,
    train,
)
from support.gloo.worker_group import WorkerGroup, worker_group

WORLDS = (1, 2, 3, 4, 5, 8)
pytestmark = pytest.mark.slow


def everyday(number: int) -> bool:
    """Say whether a case of the matrix belongs to the third that has each recipe with each L, m and model."""
    recipe, model, leaf_rows, leaves = number % 3, number // 3 % 2, number // 6 % 2, number // 12
    return recipe == (leaves + leaf_rows + model) % 3


CASES = [
    pytest.param(case, marks=() if everyday(number) else pytest.mark.exhaustive)
    for number, case in enumerate(matrix())
]


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"W={world}")
def group(request: pytest.FixtureRequest) -> Iterator[WorkerGroup]:
    with worker_group(request.param) as workers:
        yield workers


@cache
def oracle_digest(case: Case) -> str:
    enforce_determinism(threads=1)
    return weights_digest(oracle_weights(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_worker_count_gives_the_digest_of_the_oracle(group: WorkerGroup, case: Case) -> None:
    if group.world > case.leaves:
        pytest.skip("W <= L")
    outcomes = group.run(train, Run(case=case))
    check_run(outcomes, case)
    assert outcomes[0].digest == oracle_digest(case)


def test_clipping_gives_the_digest_of_the_oracle(group: WorkerGroup) -> None:
    case = Case(leaves=8, clip=0.05)
    assert group.run(train, Run(case=case))[0].digest == oracle_digest(case)
    assert oracle_digest(case) != oracle_digest(Case(leaves=8))


def test_mixup_draws_the_same_partners_for_every_worker_count(group: WorkerGroup) -> None:
    case = Case(leaves=8, mixup_alpha=0.4)
    check_run(group.run(train, Run(case=case)), case)
    assert group.run(train, Run(case=case))[0].digest == mixup_digest()


@cache
def mixup_digest() -> str:
    with worker_group(1) as single:
        digest = single.run(train, Run(case=Case(leaves=8, mixup_alpha=0.4)))[0].digest
    assert digest != oracle_digest(Case(leaves=8))
    return str(digest)


@pytest.mark.parametrize("leaves", [3, 6, 7, 8, 12, 13, 16])
def test_crafted_numbers_are_added_in_tree_order(group: WorkerGroup, leaves: int) -> None:
    if group.world > leaves:
        pytest.skip("W <= L")
    numbers = crafted_numbers(leaves)
    expected = tree_of(list(numbers.leaves_ln))
    for summed in group.run(add_up, numbers):
        assert summed.tobytes() == expected.tobytes()


def test_fixed_point_sums_do_not_depend_on_workers_and_bound_the_error_of_the_tree(
    group: WorkerGroup,
) -> None:
    case = Case(leaves=8)
    answers = group.run(fixed_point, case)
    assert {answer.digest for answer in answers} == {fixed_point_digest()}
    assert all(answer.worst_share_of_bound <= 1.0 for answer in answers)


@cache
def fixed_point_digest() -> str:
    with worker_group(1) as single:
        return str(single.run(fixed_point, Case(leaves=8))[0].digest)


def test_evaluation_counts_are_equal(group: WorkerGroup) -> None:
    answers = group.run(evaluation, Case(leaves=8))
    assert set(answers) == {evaluation_counts()}


@cache
def evaluation_counts() -> tuple[int, ...]:
    with worker_group(1) as single:
        return tuple(single.run(evaluation, Case(leaves=8))[0])


def test_small_messages_and_flags_cross(group: WorkerGroup) -> None:
    answers = group.run(small_messages, None)
    payloads = [bytes([rank]) * rank for rank in range(group.world)]
    assert answers[0].gathered == payloads
    assert all(answer.gathered == [] for answer in answers[1:])
    assert {answer.broadcast for answer in answers} == {b"from 0"}
    assert {(answer.one_flag, answer.no_flag) for answer in answers} == {(True, False)}
