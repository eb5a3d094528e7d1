"""State that leaves leave behind is refused by name before training; state that cannot depend on W passes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from seedbed.arithmetic.arithmetic_config import Arithmetic, Normalisation
from seedbed.arithmetic.leaf_gradient import normalize_pixels
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.usercode import UserModel, fetch_code, load_entrypoint
from seedbed.usercode.determinism_probe import probe_step
from seedbed.usercode.network_check import check_network
from seedbed_api.errors import UserError
from support.networks import accepted_networks, refused_networks
from unit.usercode.leaves import a_leaf

pytestmark = pytest.mark.slow  # each case trains two leaves, several times

REFUSED = refused_networks.refused()
ARITHMETIC = Arithmetic(leaves=4, leaf_rows=4, classes=5, seed=3, learning_rate=LearningRate(base=0.1))


def loaded(folder: Path, case: str, entrypoint: str = "refused_networks:Op") -> UserModel:
    networks = Path(refused_networks.__file__).parent
    shutil.copytree(networks, folder / "networks", ignore=shutil.ignore_patterns("__pycache__"))
    return load_entrypoint(f"networks.{entrypoint}", {"case": case}, fetch_code(str(folder)))


def check(user: UserModel) -> None:
    """Check a network as before a training."""
    leaves = [a_leaf(leaf) for leaf in range(2)]
    images = normalize_pixels(leaves[0].pixels_mhwc, Normalisation(), torch.device("cpu"))
    check_network(user, user.build(classes=5, seed=3), images_mchw=images, classes=5)
    probe_step(user, ARITHMETIC, leaves)


@pytest.mark.parametrize("case", accepted_networks.one_digest())
def test_what_gives_one_digest_is_accepted(tmp_path: Path, case: str) -> None:
    check(loaded(tmp_path, case, "accepted_networks:Op"))


@pytest.mark.parametrize("case", REFUSED)
def test_state_that_leaves_leave_behind_is_named(tmp_path: Path, case: str) -> None:
    user = loaded(tmp_path, case)
    with pytest.raises(UserError) as caught:
        check(user)
    assert caught.value.reason == "ModelError"
    assert REFUSED[case][1] in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("case", refused_networks.LOSSES)
def test_state_of_a_loss_is_named(tmp_path: Path, case: str) -> None:
    user = loaded(tmp_path, case, "refused_networks:WithLoss")
    with pytest.raises(UserError) as caught:
        check(user)
    assert caught.value.reason == "ModelError"
    assert refused_networks.LOSSES[case][1] in caught.value.message
