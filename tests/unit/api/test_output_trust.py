"""spec.output.trust: which values there are, what a profile allows, and that it identifies no run."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import training_job
from seedbed_api.profile_policy import policy_violations
from seedbed_api.run_identity import resolve, run_id
from support.manifests.base_manifests import TRAINING_JOB
from support.operator.builders import a_profile

DIGEST = f"sha256:{'0' * 64}"


def a_job(trust: str | None) -> Any:
    manifest = copy.deepcopy(TRAINING_JOB)
    if trust is not None:
        manifest["spec"]["output"]["trust"] = trust
    return training_job(manifest)


def test_trust_is_no_part_of_the_identity() -> None:
    resolved = [resolve(a_job(trust), dataset_digest=DIGEST) for trust in (None, "Own", "Signed", "Store")]
    identities = {run_id(each, arithmetic_version=1, environment_class=DIGEST) for each in resolved}
    assert len(identities) == 1
    assert "trust" not in str(resolved)


@pytest.mark.parametrize("trust", ["own", "None", "", "Everyone"])
def test_another_value_is_refused_by_name(trust: str) -> None:
    with pytest.raises(UserError, match=r"spec\.output\.trust: must be 'Own', 'Signed' or 'Store'"):
        a_job(trust)


@pytest.mark.parametrize(
    ("profile", "allowed", "trust", "accepted"),
    [
        ("Own", [], None, True),
        ("Own", [], "Own", True),
        ("Own", [], "Signed", False),
        ("Own", [], "Store", False),
        ("Own", ["Signed"], "Signed", True),
        ("Own", ["Signed"], "Store", False),
        ("Own", ["Store"], "Store", True),
        ("Own", ["Store"], "Signed", False),
        ("Signed", [], "Own", True),
        ("Signed", [], "Signed", True),
        ("Signed", [], "Store", False),
        ("Signed", ["Store"], "Store", True),
        ("Store", [], "Own", True),
        ("Store", [], "Signed", True),
        ("Store", [], "Store", True),
    ],
)
def test_job_may_choose_a_stricter_value_and_a_weaker_one_that_is_listed(
    profile: str, allowed: list[str], trust: str | None, accepted: bool
) -> None:
    offer = a_profile(outputTrust=profile, allowedOutputTrusts=allowed).spec
    assert offer is not None
    found = [each.message for each in policy_violations(a_job(trust).spec, offer)]
    fix = "remove it or choose another, or ask the admin to add it to allowedOutputTrusts"
    line = f"spec.output.trust: is not allowed by the profile (got '{trust}'); {fix}"
    assert found == ([] if accepted else [line])
