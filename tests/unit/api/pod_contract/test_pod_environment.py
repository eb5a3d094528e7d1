"""The environment of pods: what the operator writes, the pod reads; so does what an earlier operator wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.pods.pod_settings import DriverSettings, WorkerSettings, pod_settings
from seedbed_api.errors import UserError
from seedbed_api.job_kinds import Job
from seedbed_api.manifest_loader import any_job
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.driver_messages import LiveProgress, parse_outcome
from seedbed_api.pod_contract.pod_environment import (
    DriverEnvironment,
    PodEnvironment,
    PodIdentity,
    WorkerEnvironment,
)
from support.operator.builders import UID, a_recipe, a_search

RECORDED = Path(__file__).parent / "recorded"

TEXTS = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
OPTIONAL = st.none() | TEXTS
COUNTS = st.integers(min_value=1, max_value=10**12)


def a_job(kind: str, value: str) -> Job:
    """Return a job with a text of the user's in it."""
    spec: dict[str, Any] = a_recipe()
    spec["model"]["args"] = [{"name": "width", "value": value}]
    if kind == "SweepJob":
        template = {name: spec[name] for name in ("dataset", "model", "training")}
        spec = a_search() | {"trialTemplate": {"spec": template}}
    metadata = {"name": "seedlings", "namespace": "team", "uid": UID}
    return any_job({"apiVersion": "seedbed.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


JOBS = st.builds(a_job, st.sampled_from(["TrainingJob", "SweepJob"]), TEXTS)
OF_EVERY_POD = {
    "job": JOBS,
    "attempt": COUNTS,
    "gpus": st.integers(min_value=0, max_value=8),
    "device": st.sampled_from(["cpu", "cuda"]),
    "expected_dataset_digest": OPTIONAL,
    "expected_run_id": OPTIONAL,
    "expected_environment_class": OPTIONAL,
    "cache_folder": OPTIONAL,
    "cache_bytes": st.none() | COUNTS,
}
ADDRESSES = st.sampled_from(["seedlings-1-head:6379", "10.0.0.7:6379", "[::1]:6379"])


def environments(model: type[PodEnvironment], **fields: Any) -> st.SearchStrategy[PodEnvironment]:
    """Draw environments. `st.builds` takes aliases for arguments that are missing, and draws them too."""
    return st.fixed_dictionaries({**OF_EVERY_POD, **fields}).map(lambda drawn: model(**drawn))


DRIVERS = environments(DriverEnvironment, role=st.just("driver"), ray_mode=st.just("head")) | environments(
    DriverEnvironment, role=st.just("driver"), ray_mode=st.just("join"), ray_address=ADDRESSES
)
WORKERS = environments(WorkerEnvironment, role=st.just("worker"), ray_address=ADDRESSES, ranks=COUNTS)
IDENTITIES = st.fixed_dictionaries(
    {"pod_name": TEXTS, "pod_ip": TEXTS, "ray_auth_mode": st.just("token"), "token": TEXTS}
).map(lambda drawn: PodIdentity(**drawn))


@settings(deadline=None, max_examples=60)
@given(environment=DRIVERS | WORKERS)
def test_an_environment_is_read_as_it_was_written(environment: PodEnvironment) -> None:
    written = environment.to_env()
    assert all(isinstance(value, str) and value for value in written.values())
    assert type(environment).from_env(written) == environment
    assert type(environment).from_env(written).to_env() == written


@settings(deadline=None, max_examples=20)
@given(identity=IDENTITIES)
def test_an_identity_is_read_as_it_was_written(identity: PodIdentity) -> None:
    assert PodIdentity.from_env(identity.to_env()) == identity


@settings(deadline=None, max_examples=20)
@given(environment=WORKERS, identity=IDENTITIES)
def test_a_pod_reads_both_parts(environment: WorkerEnvironment, identity: PodIdentity) -> None:
    read = pod_settings({**environment.to_env(), **identity.to_env()})
    assert isinstance(read, WorkerSettings)
    assert (read.ray_address, read.ranks) == (environment.ray_address, environment.ranks)
    assert (read.pod_name, read.token) == (identity.pod_name, identity.token)
    assert read.job == environment.job


@pytest.mark.parametrize(("role", "model"), [("driver", DriverSettings), ("worker", WorkerSettings)])
def test_the_environment_of_an_earlier_operator_is_read(
    role: str, model: type[DriverSettings | WorkerSettings]
) -> None:
    recorded = json.loads((RECORDED / f"{role}_environment.json").read_text())
    read = pod_settings(recorded)
    assert isinstance(read, model)
    ours = {name for name in recorded if name.startswith("SEEDBED_")}
    again = model.from_env(recorded).to_env()
    assert {name: again[name] for name in ours} == {name: recorded[name] for name in ours}
    assert {name: recorded[name] for name in env_vars.CONSTANTS} == env_vars.CONSTANTS


def test_the_messages_of_an_earlier_driver_are_read() -> None:
    """The operator reads pods of images that are older than itself."""
    for title, recorded in json.loads((RECORDED / "termination_messages.json").read_text()).items():
        outcome = parse_outcome(json.dumps(recorded))
        assert outcome is not None, title
        assert json.loads(outcome.encode()) == recorded
    recorded = json.loads((RECORDED / "live_progress.json").read_text())
    progress = LiveProgress.model_validate(recorded)
    assert json.loads(progress.model_dump_json(by_alias=True, exclude_none=True)) == recorded


def test_a_token_is_not_shown() -> None:
    recorded = json.loads((RECORDED / "driver_environment.json").read_text())
    assert "t0ken" not in repr(pod_settings(recorded))


def test_a_later_operator_may_add_variables() -> None:
    recorded = json.loads((RECORDED / "driver_environment.json").read_text())
    assert pod_settings({**recorded, "SEEDBED_LATER": "x", "attempt": "7", "device": "tpu"}).attempt == 1


@pytest.mark.parametrize("name", [env_vars.JOB, env_vars.ATTEMPT, env_vars.ROLE, env_vars.POD_NAME])
def test_a_missing_variable_is_one_line(name: str) -> None:
    recorded = json.loads((RECORDED / "driver_environment.json").read_text())
    del recorded[name]
    with pytest.raises(UserError, match=f"^{name}: is missing .*; write it$") as caught:
        pod_settings(recorded)
    assert caught.value.reason == "InvalidSpec"


def test_a_driver_that_joins_needs_an_address_and_a_head_has_none() -> None:
    recorded = json.loads((RECORDED / "driver_environment.json").read_text())
    with pytest.raises(UserError, match=r"^SEEDBED_RAY_ADDRESS: is missing"):
        pod_settings({**recorded, "SEEDBED_RAY_MODE": "join"})
    assert pod_settings({**recorded, "SEEDBED_RAY_ADDRESS": "other:6379"}).ray_address is None
