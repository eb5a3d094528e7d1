"""Networks of torchvision and timm: one digest and one evaluation for every W, and after a resume."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from determinism.user_tasks import UserOutcome, UserRun, train_network
from seedbed.arithmetic.arithmetic_config import ParameterGroup
from support.gloo.worker_counts import Groups, worker_groups
from support.gloo.worker_group import WorkerGroup
from support.networks.library_networks import EVERY_DAY, TRIED, Network, needs

pytestmark = [pytest.mark.slow, needs("timm", "torchvision")]


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with worker_groups() as found:
        yield found


def trained(group: WorkerGroup, network: Network, **how: object) -> UserOutcome:
    """Train, and assert that all workers have the same."""
    run = UserRun(network=network.name, args=network.args, pixels=network.pixels, **how)  # type: ignore[arg-type]
    first, *others = group.run(train_network, run)
    assert all((other.digest, other.counts) == (first.digest, first.counts) for other in others)
    return first


@pytest.mark.parametrize(
    "network",
    [
        *EVERY_DAY,
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in TRIED if each not in EVERY_DAY),
    ],
    ids=str,
)
def test_one_digest_and_one_evaluation(groups: Groups, network: Network) -> None:
    check_one_digest(groups, network)


FINE_TUNED: dict[str, dict[str, object]] = {
    "a frozen backbone": {"frozen": ("features.*",)},
    "frozen BatchNorms among trained convolutions": {"frozen": ("features.*.1.weight", "features.*.1.bias")},
    "slow layers and no decay of biases": {
        "groups": (
            ParameterGroup(match="*.bias", weight_decay=0.0),
            ParameterGroup(match="features.*", learning_rate_factor=0.1),
        )
    },
    "both": {
        "frozen": ("features.0.*", "features.1.*"),
        "groups": (ParameterGroup(match="classifier.*", learning_rate_factor=3.0, weight_decay=0.01),),
    },
}


@pytest.mark.parametrize("case", FINE_TUNED)
def test_one_digest_of_a_fine_tuning(groups: Groups, case: str) -> None:
    digests = check_one_digest(groups, EVERY_DAY[0], **FINE_TUNED[case])
    assert digests != trained(groups[1], EVERY_DAY[0]).digest, "the setting changes the training"


def check_one_digest(workers: Groups, network: Network, **how: object) -> str:
    alone = trained(workers[1], network, **how)
    together = trained(workers[3], network, **how)
    assert (together.digest, together.counts) == (alone.digest, alone.counts)
    half = trained(workers[3], network, stop=3, **how)
    rest = trained(workers[2], network, first=3, state=half.state, **how)
    assert (rest.digest, half.counts + rest.counts) == (alone.digest, alone.counts)
    return alone.digest
