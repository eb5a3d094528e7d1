"""The promises of the matrix on a GPU, with torch alone: several processes share one device over gloo, or NCCL."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.arithmetic.torch_determinism import enforce_determinism
from support.gloo.cases import Case, matrix
from support.gloo.checks import check_run
from support.gloo.oracle import oracle_weights
from support.gloo.tasks import Run, State, train
from support.gloo.worker_group import WorkerGroup, worker_group

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: no CUDA device"),
]


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids=lambda world: f"W={world}")
def group(request: pytest.FixtureRequest) -> Iterator[WorkerGroup]:
    with worker_group(request.param) as workers:
        yield workers


@cache
def oracle_digest(case: Case) -> str:
    enforce_determinism(threads=1)
    return weights_digest(oracle_weights(case))


@pytest.mark.parametrize("case", matrix("cuda"), ids=str)
def test_workers_that_share_a_device_give_the_digest_of_the_oracle(group: WorkerGroup, case: Case) -> None:
    outcomes = group.run(train, Run(case=case))
    check_run(outcomes, case)
    assert outcomes[0].digest == oracle_digest(case)


def test_a_run_handed_from_group_to_group_ends_with_the_digest_of_the_oracle() -> None:
    case = Case(leaves=8, steps=6, device="cuda")
    state: State | None = None
    first, digest = 0, ""
    for world, stop in [(4, 2), (2, 3), (3, 6)]:
        with worker_group(world) as workers:
            outcomes = workers.run(train, Run(case=case, first=first, stop=stop, state=state))
        first, state, digest = stop, outcomes[0].state, outcomes[0].digest
    assert digest == oracle_digest(case)


@pytest.mark.parametrize("fault", ["no BatchNorm restore", "random numbers keyed by rank"])
def test_planted_faults_turn_the_digest_red(fault: str) -> None:
    case = Case(leaves=4, device="cuda")
    with worker_group(2) as workers:
        faulty = {outcome.digest for outcome in workers.run(train, Run(case=case, mutation=fault))}
    assert faulty != {oracle_digest(case)}


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("leaves", [4, 8])
def test_nccl_gives_the_digest_of_the_oracle(world: int, leaves: int) -> None:
    if torch.cuda.device_count() < world:
        pytest.skip(f"not run: {torch.cuda.device_count()} CUDA devices, NCCL needs one per worker")
    case = Case(leaves=leaves, device="cuda")
    with worker_group(world, backend="nccl") as workers:
        outcomes = workers.run(train, Run(case=case))
    check_run(outcomes, case)
    assert outcomes[0].digest == oracle_digest(case)


def test_a_busy_gpu_says_so() -> None:
    pytest.importorskip("pynvml", reason="not run: nvidia-ml-py is not installed")
    from seedbed.training.resource_usage import gpu_utilization  # the rest of this file needs torch alone

    torch.zeros(1, device="cuda")
    told = gpu_utilization()
    assert told is not None
    assert 0 <= told <= 1
