"""What a pod is told: read as the operator writes it, refused in one line that names variable, value and fix."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from unittest import mock

import pytest

from seedbed.pods.pod_cluster import PodCluster
from seedbed.pods.pod_settings import DriverSettings, WorkerSettings, pod_settings
from seedbed.pods.ray_node import set_ray_variables
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed_api.errors import UserError
from seedbed_api.run_identity import ExpectedIdentity
from unit.pods.worker_environment import DRIVER, JOB, WORKER


def told(base: dict[str, str] = DRIVER, **changes: str) -> DriverSettings | WorkerSettings:
    return pod_settings({**base, **changes})


def test_a_driver_that_is_the_head() -> None:
    settings = told(SEEDBED_CACHE_FOLDER="/var/cache/seedbed", SEEDBED_CACHE_BYTES="1000")
    assert (settings.role, settings.attempt, settings.uid) == ("driver", 2, "1234")
    assert settings.ray_address is None
    assert (settings.ray_port, settings.progress_port, settings.device) == (6379, 8701, "cpu")
    assert (settings.options().cache_folder, settings.cache_bytes) == (Path("/var/cache/seedbed"), 1000)
    assert settings.options().expected == ExpectedIdentity()


def test_a_worker() -> None:
    settings = told(WORKER)
    assert (settings.role, settings.ray_address) == ("worker", "digits-2-head:6379")
    assert (settings.ranks, settings.gpus, settings.device) == (4, 1, "cuda")


def test_ranks_on_gpus_seal_their_messages_unless_the_operator_says_that_the_network_is_closed() -> None:
    seen = []
    for settings in (told(), told(SEEDBED_GPU_EXCHANGE="NCCL")):
        assert isinstance(settings, DriverSettings)
        cluster = PodCluster(settings, stopping=threading.Event())
        with (
            mock.patch.object(cluster, "start"),
            cluster.provision_workers(mock.Mock(), WorkerRange(least=1, most=2)) as placement,
        ):
            seen.append(placement.gpu_exchange)
    assert seen == ["Sealed", "NCCL"]


def test_what_earlier_attempts_found_reaches_the_driver() -> None:
    expected = ExpectedIdentity(dataset_digest="sha256:a", run_id="sha256:b", environment_class="sha256:c")
    settings = told(
        SEEDBED_EXPECTED_DATASET_DIGEST="sha256:a",
        SEEDBED_EXPECTED_RUN_ID="sha256:b",
        SEEDBED_EXPECTED_ENVIRONMENT_CLASS="sha256:c",
    )
    assert settings.options().expected == expected


def test_secrets_are_the_folders_that_are_mounted(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    options = told(SEEDBED_SECRETS_FOLDER=str(tmp_path)).options()
    assert (options.dataset_secret, options.output_secret) == (None, tmp_path / "output")


@pytest.mark.parametrize(
    ("base", "changes", "line"),
    [
        pytest.param(DRIVER, {"SEEDBED_ROLE": ""}, "SEEDBED_ROLE: is missing", id="no role"),
        pytest.param(DRIVER, {"SEEDBED_ROLE": "boss"}, r"SEEDBED_ROLE: must be 'driver' .*'boss'", id="role"),
        pytest.param(DRIVER, {"SEEDBED_JOB": "{"}, "SEEDBED_JOB: is not a TrainingJob", id="half a job"),
        pytest.param(
            DRIVER, {"SEEDBED_ATTEMPT": "0"}, "SEEDBED_ATTEMPT: .*at least 1.*got 0", id="attempt 0"
        ),
        pytest.param(DRIVER, {"SEEDBED_ATTEMPT": "-1"}, "SEEDBED_ATTEMPT: .*'-1'", id="attempt -1"),
        pytest.param(
            DRIVER, {"SEEDBED_RAY_MODE": "raw"}, "SEEDBED_RAY_MODE: must be 'head' or 'join'", id="mode"
        ),
        pytest.param(
            DRIVER,
            {"RAY_AUTH_MODE": "disabled"},
            "RAY_AUTH_MODE: must be 'token' .*'disabled'",
            id="open Ray",
        ),
        pytest.param(DRIVER, {"RAY_AUTH_TOKEN": ""}, "RAY_AUTH_TOKEN: is missing", id="no token"),
        pytest.param(DRIVER, {"POD_IP": ""}, "POD_IP: is missing", id="no address"),
        pytest.param(DRIVER, {"SEEDBED_PROGRESS_PORT": "x"}, "SEEDBED_PROGRESS_PORT: .*'x'", id="port"),
        pytest.param(WORKER, {"SEEDBED_RAY_ADDRESS": ""}, "SEEDBED_RAY_ADDRESS: is missing", id="no head"),
        pytest.param(WORKER, {"SEEDBED_RAY_ADDRESS": "head"}, "not HOST:PORT .*'head'", id="head, no port"),
        pytest.param(WORKER, {"SEEDBED_DEVICE": "tpu"}, "SEEDBED_DEVICE: .*'cpu' or 'cuda'", id="device"),
        pytest.param(WORKER, {"SEEDBED_RANKS": "0"}, "SEEDBED_RANKS: .*at least 1", id="no rank"),
    ],
)
def test_a_mistake_is_one_line(base: dict[str, str], changes: dict[str, str], line: str) -> None:
    with pytest.raises(UserError, match=line) as caught:
        told(base, **changes)
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message


def test_a_job_that_the_models_refuse_is_told_by_its_field() -> None:
    job = {**JOB, "spec": {**JOB["spec"], "model": {"name": "alexnet-7"}}}
    with pytest.raises(UserError, match=r"spec\.model\.name"):
        told(SEEDBED_JOB=json.dumps(job))


def test_ray_of_pods_is_closed_and_looks_beyond_its_machine() -> None:
    environ = {"RAY_AUTH_MODE": "disabled", "GLOO_SOCKET_IFNAME": "eth0"}
    set_ray_variables(environ)
    assert environ["RAY_AUTH_MODE"] == "token"
    assert environ["GLOO_SOCKET_IFNAME"] == "eth0"
    assert environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "1"
    assert environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "0.2"


def test_a_sweep_is_told_as_a_training_is() -> None:
    recipe = {name: JOB["spec"][name] for name in ("dataset", "model", "training")}
    search = {
        "objective": {"metric": "validation/loss", "direction": "Minimize"},
        "algorithm": {"type": "Random"},
        "trialTemplate": {"spec": recipe},
        "maxTrialCount": 1,
        "output": JOB["spec"]["output"],
    }
    settings = told(SEEDBED_JOB=json.dumps({**JOB, "kind": "SweepJob", "spec": search}))
    assert (settings.job.kind, settings.uid, settings.turn) == ("SweepJob", "1234", "1234/2")
    assert settings.job.spec.output.uri == "s3://runs"
