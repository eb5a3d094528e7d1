"""How ranks on GPUs exchange: by NCCL where a NetworkPolicy keeps strangers away, else sealed."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from seedbed_operator import cli
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.pods_backend import PodsBackend, backends_with
from seedbed_operator.manager.operator_settings import Settings
from support.operator.builders import IMAGE, a_profile, a_training_job

ATTEMPT = DesiredAttempt(number=1, driver_uid=None, workers=(0, 1), image=IMAGE)
FENCED, OPEN = "default", "none"
OWN_RULES = '{"ingress": [], "egress": []}'


def told(settings: Settings, **worker: Any) -> dict[str, str | None]:
    """Return what each pod of a job is told, by role; and whether the job has a NetworkPolicy."""
    backend = backends_with(settings.network_rules, settings.exchange_of_gpus)["Pods"]
    made = backend.children(a_training_job().build(), a_profile(worker=worker), ATTEMPT)
    pods = {each.name: each.body["spec"]["containers"][0]["env"] for each in made if each.kind == "Pod"}
    return {
        name.rpartition("seedlings-1-")[2]: next(
            (entry["value"] for entry in env if entry["name"] == "SEEDBED_GPU_EXCHANGE"), None
        )
        for name, env in pods.items()
    }


@pytest.mark.parametrize(
    ("policy", "choice", "exchange"),
    [
        (FENCED, "auto", "NCCL"),
        (OWN_RULES, "auto", "NCCL"),
        (OPEN, "auto", "Sealed"),
        (OPEN, "nccl", "NCCL"),
        (FENCED, "sealed", "Sealed"),
        (FENCED, "nccl", "NCCL"),
        (OPEN, "sealed", "Sealed"),
    ],
)
def test_the_driver_of_a_job_with_gpus_is_told(policy: str, choice: Any, exchange: str) -> None:
    settings = Settings(namespaces=("team",), network_policy=policy, gpu_exchange=choice).check()
    assert told(settings, gpu={"count": 1}) == {"driver": exchange, "worker-0": None, "worker-1": None}
    assert set(told(settings).values()) == {None}, "on CPUs all messages are sealed"


def test_a_backend_without_settings_seals() -> None:
    assert PodsBackend().gpu_exchange == "Sealed"


def test_another_value_is_refused_in_one_line() -> None:
    refused = CliRunner().invoke(cli.cli, ["check", "--namespace", "team", "--gpu-exchange", "tls"])
    assert refused.exit_code != 0
    assert "'tls' is not one of 'auto', 'nccl', 'sealed'" in refused.output
