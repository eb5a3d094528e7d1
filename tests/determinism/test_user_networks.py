"""Networks as users write them: what is accepted gives one digest and one evaluation for every W and resume."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from determinism.user_tasks import UserOutcome, UserRun, train_network
from support.gloo.worker_counts import Groups, worker_groups
from support.gloo.worker_group import WorkerGroup
from support.networks.accepted_networks import one_digest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with worker_groups() as found:
        yield found


def trained(group: WorkerGroup, run: UserRun) -> UserOutcome:
    """Train, and assert that all workers have the same."""
    first, *others = group.run(train_network, run)
    assert all((other.digest, other.counts) == (first.digest, first.counts) for other in others)
    return first


@pytest.mark.parametrize("network", one_digest())
def test_one_digest_and_one_evaluation(groups: Groups, network: str) -> None:
    alone = trained(groups[1], UserRun(network=network))
    for world in (2, 3):
        together = trained(groups[world], UserRun(network=network))
        assert (together.digest, together.counts) == (alone.digest, alone.counts)
    assert trained(groups[2], UserRun(network=network, evaluates=False)).digest == alone.digest
    half = trained(groups[3], UserRun(network=network, stop=3))
    rest = trained(groups[2], UserRun(network=network, first=3, state=half.state))
    assert (rest.digest, half.counts + rest.counts) == (alone.digest, alone.counts)
