"""Killed workers, resumed runs with other worker counts, and planted faults that must turn the checks red."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import cache

import pytest

from seedbed.arithmetic.arithmetic_config import SGD, AdamW
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.arithmetic.torch_determinism import enforce_determinism
from support.gloo.cases import RESNET, Case
from support.gloo.checks import crafted_numbers, tree_of
from support.gloo.oracle import oracle_weights
from support.gloo.tasks import Run, State, add_up, train
from support.gloo.worker_group import WorkerFailedError, WorkerGroup, worker_group

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def groups() -> Iterator[dict[int, WorkerGroup]]:
    with worker_group(1) as one, worker_group(2) as two, worker_group(3) as three, worker_group(4) as four:
        yield {1: one, 2: two, 3: three, 4: four}


@cache
def expected(case: Case) -> str:
    enforce_determinism(threads=1)
    return weights_digest(oracle_weights(case))


CHAINS = {
    "four, two, three": [(4, 2), (2, 3), (3, 6)],
    "one, three": [(1, 1), (3, 6)],
    "three, one, four, two": [(3, 1), (1, 2), (4, 5), (2, 6)],
}
CHAIN_CASES = {
    "SGD": Case(leaves=8, steps=6, optimizer=SGD(momentum=0.9)),
    "AdamW": Case(leaves=8, steps=6, optimizer=AdamW()),
    "resnet18": Case(model="resnet18", args=RESNET, leaves=8, steps=6),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
@pytest.mark.parametrize("case", CHAIN_CASES.values(), ids=CHAIN_CASES.keys())
def test_a_run_handed_from_group_to_group_ends_with_the_digest_of_the_oracle(
    groups: dict[int, WorkerGroup], case: Case, chain: list[tuple[int, int]]
) -> None:
    state: State | None = None
    first, digest, leaves_run = 0, "", 0
    for world, stop in chain:
        outcomes = groups[world].run(train, Run(case=case, first=first, stop=stop, state=state))
        first, state, digest = stop, outcomes[0].state, outcomes[0].digest
        leaves_run += sum(outcome.leaves_run for outcome in outcomes)
    assert leaves_run == case.steps * case.leaves
    assert digest == expected(case)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_survivors_of_a_killed_worker_hear_of_it_and_another_group_goes_on(
    groups: dict[int, WorkerGroup], world: int
) -> None:
    case = Case(leaves=8, steps=4)
    saved = groups[1].run(train, Run(case=case, stop=2))[0].state
    with worker_group(world) as doomed:
        doomed.send(train, Run(case=case, first=2, state=saved, die_at=(world - 1, 3)))
        # neighbours hear of it at once, others at the latest at the group's time-out; `answer` waits longer
        answers = [doomed.answer(rank) for rank in range(world - 1)]
        assert all(
            isinstance(answer, WorkerFailedError) and "lost a peer" in str(answer) for answer in answers
        )
        with pytest.raises(EOFError):
            doomed.answer(world - 1)
    other = groups[world % 4 + 1]
    assert other.run(train, Run(case=case, first=2, state=saved))[0].digest == expected(case)


def test_a_peer_that_hangs_is_given_up_after_the_time_out() -> None:
    case = Case(leaves=8, steps=4)
    with worker_group(2, timeout_seconds=15) as group:  # the two may find each other slowly, too
        group.run(train, Run(case=case, stop=1))
        stopped = group.processes[1].pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        group.send(train, Run(case=case))
        started = time.monotonic()
        answer = group.answer(0)
        os.kill(stopped, signal.SIGKILL)
        assert isinstance(answer, WorkerFailedError)
        assert "lost a peer" in str(answer)
        assert time.monotonic() - started > 1, "it was not waited for"


class TestPlantedFaults:
    """Each fault breaks the promise it is named after, and the sound code beside it does not."""

    def digests(self, groups: dict[int, WorkerGroup], world: int, fault: str, leaves: int) -> set[str]:
        run = Run(case=Case(leaves=leaves), mutation=fault)
        return {outcome.digest for outcome in groups[world].run(train, run)}

    @pytest.mark.parametrize(
        ("fault", "world", "leaves"),
        [
            ("sum collective", 3, 6),
            ("no BatchNorm restore", 1, 4),
            ("no BatchNorm restore", 2, 4),
            ("random numbers keyed by rank", 2, 4),
            ("carry stack counted locally", 3, 8),
        ],
    )
    def test_turns_the_digest_red(
        self, groups: dict[int, WorkerGroup], fault: str, world: int, leaves: int
    ) -> None:
        case = Case(leaves=leaves)
        sound = {outcome.digest for outcome in groups[world].run(train, Run(case=case))}
        assert sound == {expected(case)}
        assert self.digests(groups, world, fault, leaves) != {expected(case)}

    def test_a_sum_collective_of_two_workers_is_no_proof(self, groups: dict[int, WorkerGroup]) -> None:
        """IEEE addition commutes: with two operands a collective gives the bits of the tree."""
        assert self.digests(groups, 2, "sum collective", 4) == {expected(Case(leaves=4))}

    def test_a_carry_stack_counted_locally_is_right_where_w_divides_l(
        self, groups: dict[int, WorkerGroup]
    ) -> None:
        assert self.digests(groups, 2, "carry stack counted locally", 8) == {expected(Case(leaves=8))}

    def test_zero_in_place_of_a_missing_leaf_changes_minus_zero(self, groups: dict[int, WorkerGroup]) -> None:
        right = tree_of(list(crafted_numbers(8).leaves_ln)).tobytes()
        sound = groups[3].run(add_up, crafted_numbers(8))
        faulty = groups[3].run(add_up, crafted_numbers(8, mutation="zero for a missing leaf"))
        assert {total.tobytes() for total in sound} == {right}
        assert right not in {total.tobytes() for total in faulty}
