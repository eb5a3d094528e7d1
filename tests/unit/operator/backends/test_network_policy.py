"""The NetworkPolicy of a job: its own pods, what the operator's settings add, and nobody else."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from seedbed_api.errors import UserError
from seedbed_api.pod_template import is_reserved_key
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.child_metadata import pod_labels
from seedbed_operator.backends.network_policy import NetworkRules, network_policy
from seedbed_operator.backends.pods_backend import backends_with
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.resource_kinds import JOBS, NETWORK_POLICIES, JobKey
from seedbed_operator.manager.network_rules import parse_network_rules
from seedbed_operator.plan import Create
from seedbed_operator.plan_executor import ExecutionResult, PlanExecutor
from support.operator.builders import IMAGE, UID, a_profile, a_sweep_job, a_training_job
from support.operator.fake_api_server import NOON, ApiServer

OTHER_UID = "ffffffff-0000-4000-8000-000000000000"


def spec_of(job: JobView, rules: NetworkRules | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = network_policy(job, rules or NetworkRules()).body["spec"]
    return spec


def selected(spec: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = spec["podSelector"]["matchLabels"]
    return wanted.items() <= labels.items()


@pytest.mark.parametrize("job", [a_training_job().build(), a_sweep_job().build()], ids=["job", "sweep"])
def test_it_selects_the_pods_of_the_job_and_of_no_other(job: JobView) -> None:
    spec = spec_of(job)
    assert selected(spec, pod_labels(job, 1, "driver"))
    assert selected(spec, pod_labels(job, 7, "worker"))
    namesake = a_training_job().seen(uid=OTHER_UID).build()
    assert not selected(spec, pod_labels(namesake, 1, "driver"))
    assert all(map(is_reserved_key, spec["podSelector"]["matchLabels"])), "labels that no job may set"


def test_its_pods_reach_each_other_on_every_port_within_their_namespace() -> None:
    spec = spec_of(a_training_job().build())
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    peer = {"podSelector": spec["podSelector"]}
    assert spec["ingress"][0] == {"from": [peer]}
    assert spec["egress"][0] == {"to": [peer]}


REFUSED = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16")
REFUSED_OVER_IPV6 = ("fe80::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")
REACHED = ("10.0.0.1", "52.216.0.1", "100.100.100.201", "2600:1f00::1", "fd12::1")


@pytest.mark.parametrize("address", [*REFUSED, *REFUSED_OVER_IPV6, *REACHED])
def test_metadata_services_are_out_of_reach(address: str) -> None:
    """By the meaning that the API gives a block: in its range and in none of its exceptions."""
    blocks = [
        peer["ipBlock"] for rule in spec_of(a_training_job().build())["egress"][1:] for peer in rule["to"]
    ]

    def inside(cidr: str) -> bool:
        network = ip_network(cidr)
        return ip_address(address).version == network.version and ip_address(address) in network

    reached = any(inside(block["cidr"]) and not any(map(inside, block["except"])) for block in blocks)
    assert reached is (address in REACHED)
    for block in blocks:
        assert all(
            ip_network(cidr).subnet_of(ip_network(block["cidr"]))  # type: ignore[arg-type]
            for cidr in block["except"]
        ), "the API server refuses an exception outside of its block"


def test_the_policy_is_there_before_the_driver_and_belongs_to_the_job() -> None:
    job = a_training_job().build()
    attempt = DesiredAttempt(number=1, driver_uid=None, workers=(0,), image=IMAGE)
    made = backends_with(NetworkRules())["Pods"].children(job, a_profile(), attempt)
    assert [child.kind for child in made] == ["Secret", "Secret", "NetworkPolicy", "Pod", "Service", "Pod"]
    (owner,) = made[2].body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("TrainingJob", job.uid, True)
    assert "NetworkPolicy" not in [
        child.kind for child in backends_with(None)["Pods"].children(job, a_profile(), attempt)
    ]


def test_rules_of_the_operator_come_after_those_of_the_job() -> None:
    rules = parse_network_rules('{"ingress": [{"from": [{"podSelector": {}}]}], "egress": []}')
    assert rules is not None
    spec = spec_of(a_training_job().build(), rules)
    assert spec["ingress"][1:] == [{"from": [{"podSelector": {}}]}]
    assert spec["egress"][1:] == []


def test_the_option_has_two_words() -> None:
    assert parse_network_rules("default") == NetworkRules()
    assert parse_network_rules("none") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "off",
        "[]",
        "{}",
        '{"ingress": []}',
        '{"ingress": {}, "egress": []}',
        '{"ingress": [1], "egress": []}',
    ],
)
def test_what_is_no_option(text: str) -> None:
    with pytest.raises(UserError, match="--network-policy: must ") as refused:
        parse_network_rules(text)
    assert refused.value.reason == "InvalidOption"
    assert "\n" not in refused.value.message


def executed(server: ApiServer, action: Create) -> ExecutionResult:
    key = JobKey("default", "seedlings")
    return asyncio.run(PlanExecutor(server, InformerCache()).execute(key, [action], NOON))


def with_job() -> ApiServer:
    server = ApiServer()
    server.apply(JOBS, {"metadata": {"name": "seedlings", "namespace": "default"}, "spec": {}})
    return server


def stored(server: ApiServer, name: str) -> dict[str, Any]:
    found = server.find(NETWORK_POLICIES, "default", name)
    assert found is not None
    return json.loads(json.dumps(found["spec"]))  # type: ignore[no-any-return]


def test_a_policy_of_ours_gets_the_rules_of_now() -> None:
    """A user has opened it, or the operator has other settings than when the job began."""
    server, job = with_job(), a_training_job().build()
    wanted = network_policy(job, NetworkRules())
    assert executed(server, wanted).rejected_write is None
    server.edit(NETWORK_POLICIES, "default", wanted.name, lambda raw: raw["spec"].update(ingress=[{}]))
    assert stored(server, wanted.name)["ingress"] == [{}]
    assert executed(server, wanted).rejected_write is None
    assert stored(server, wanted.name) == json.loads(json.dumps(wanted.body["spec"]))
    writes = len(server.calls)
    assert executed(server, wanted).rejected_write is None
    assert len(server.calls) == writes, "one that is as it should be is not written"


def test_a_policy_of_somebody_else_with_its_name_is_left_alone_and_stops_the_job() -> None:
    server, job = with_job(), a_training_job().build()
    wanted = network_policy(job, NetworkRules())
    foreign = {"metadata": {"name": wanted.name, "namespace": "default"}, "spec": {"podSelector": {}}}
    server.apply(NETWORK_POLICIES, foreign)
    refused = executed(server, wanted).rejected_write
    assert refused is not None
    assert (refused.kind, refused.code) == ("NetworkPolicy", 409)
    assert stored(server, wanted.name) == {"podSelector": {}}


def test_names_of_policies_differ_for_jobs_of_one_name() -> None:
    first = network_policy(a_training_job().build(), NetworkRules()).name
    later = network_policy(a_training_job().seen(uid=OTHER_UID).build(), NetworkRules()).name
    assert first == f"seedlings-{UID[:8]}-pods"
    assert first != later
