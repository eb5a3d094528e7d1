"""What the chart allows: rights of the operator and of people, pod security, who may talk to whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chart.rendering import (
    CHART,
    IMAGE,
    Helm,
    Json,
    Right,
    job_network_policy,
    named,
    objects,
    of_kind,
    pod_template,
    rights,
    values_file,
)
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from seedbed_api.pod_contract.labels import JOB_UID_LABEL
from seedbed_operator.backends.child_metadata import pod_labels
from seedbed_operator.backends.network_policy import METADATA_ADDRESSES
from seedbed_operator.kube_client.resource_kinds import LEASES, ResourceKind
from seedbed_operator.manager.operator_settings import Settings
from seedbed_operator.manager.preflight import REQUIRED_PERMISSIONS
from support.operator.builders import a_training_job


def needed(*, of: Callable[[ResourceKind], bool]) -> set[Right]:
    """Return what the operator asks for at its start, for the kinds chosen."""
    return {
        (kind.group, "/".join(part for part in (kind.plural, subresource) if part), verb)
        for kind, subresource, verbs in REQUIRED_PERMISSIONS
        if of(kind)
        for verb in verbs.split()
    }


ANYWHERE = needed(of=lambda kind: not kind.namespaced)
LEASE = needed(of=lambda kind: kind is LEASES)
JOBS = needed(of=lambda kind: kind.namespaced and kind is not LEASES)


def rules_of(found: list[Json], kind: str, name: str) -> set[Right]:
    return set(rights(named(found, kind, name)["rules"]))


def test_cluster_wide_rights_are_these_and_no_others(helm4: Helm, tmp_path) -> None:
    found = objects(helm4.template({}, tmp_path))
    assert rules_of(found, "ClusterRole", "operators:seedbed:operator") == ANYWHERE | JOBS
    assert rules_of(found, "Role", "seedbed-leadership") == LEASE
    assert len(of_kind(found, "Role")) == 1


@pytest.mark.parametrize(
    ("policy", "exchange"),
    [
        ({}, "NCCL"),
        ({"enabled": False}, "Sealed"),
        ({"gpuExchange": "sealed"}, "Sealed"),
        ({"enabled": False, "gpuExchange": "nccl"}, "NCCL"),
    ],
)
def test_ranks_on_gpus_use_nccl_where_policies_keep_strangers_away(
    helm4: Helm, tmp_path, policy: Json, exchange: str
) -> None:
    (container,) = pod_template(objects(helm4.template({"networkPolicy": policy}, tmp_path)))["spec"][
        "containers"
    ]
    told = {each["name"]: each.get("value") for each in container["env"]}
    settings = Settings(
        namespaces=("team",),
        network_policy=told["SEEDBED_OPERATOR_NETWORK_POLICY"],
        gpu_exchange=told["SEEDBED_OPERATOR_GPU_EXCHANGE"],
    ).check()
    assert settings.exchange_of_gpus == exchange


def test_with_namespaces_the_cluster_role_reads_profiles_and_nothing_else(helm4: Helm, tmp_path) -> None:
    found = objects(helm4.template({"watchNamespaces": ["team-a", "team-b"]}, tmp_path))
    assert rules_of(found, "ClusterRole", "operators:seedbed:operator") == ANYWHERE
    roles = {role["metadata"]["namespace"]: set(rights(role["rules"])) for role in of_kind(found, "Role")}
    assert roles == {"team-a": JOBS, "team-b": JOBS, "operators": LEASE}


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}], ids=["cluster-wide", "namespaced"])
def test_every_role_is_bound_to_the_operators_account_alone(helm4: Helm, values: Json, tmp_path) -> None:
    found = objects(helm4.template(values, tmp_path))
    bindings = [*of_kind(found, "RoleBinding"), *of_kind(found, "ClusterRoleBinding")]
    account = {"kind": "ServiceAccount", "name": "seedbed-operator", "namespace": "operators"}
    assert all(binding["subjects"] == [account] for binding in bindings)
    assert pod_template(found)["spec"]["serviceAccountName"] == "seedbed-operator"
    bound = {(b["metadata"].get("namespace"), b["roleRef"]["kind"], b["roleRef"]["name"]) for b in bindings}
    own = {
        (role["metadata"].get("namespace"), role["kind"], role["metadata"]["name"])
        for role in (*of_kind(found, "Role"), *of_kind(found, "ClusterRole"))
        if "aggregate-to" not in str(role["metadata"]["labels"])
    }
    assert bound == own


def test_nothing_is_ever_read_from_secrets_and_no_right_is_a_star(helm4: Helm, tmp_path) -> None:
    found = objects(helm4.template({"watchNamespaces": ["team-a"]}, tmp_path))
    everything = {
        right
        for kind in ("Role", "ClusterRole")
        for thing in of_kind(found, kind)
        for right in rights(thing["rules"])
    }
    assert {verb for _, resource, verb in everything if resource == "secrets"} == {"create"}
    assert not any("*" in part for right in everything for part in right)
    assert not {verb for *_, verb in everything} & {"escalate", "bind", "impersonate"}


def test_the_signing_key_is_mounted_read_only_and_needs_no_right_to_read_secrets(
    helm4: Helm, tmp_path
) -> None:
    values = {"signing": {"existingSecret": "receipts", "key": "ed25519.pem"}}
    found, bare = objects(helm4.template(values, tmp_path)), objects(helm4.template({}, tmp_path))
    spec = pod_template(found)["spec"]
    volume = next(each for each in spec["volumes"] if each["name"] == "signing")
    items = [{"key": "ed25519.pem", "path": "signing.key"}]
    assert volume["secret"] == {"secretName": "receipts", "defaultMode": 0o440, "items": items}
    mount = next(each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "signing")
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/seedbed/signing", True)
    environment = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert environment["SEEDBED_OPERATOR_SIGNING_KEY"] == "/etc/seedbed/signing/signing.key"
    assert "signing" not in str(pod_template(bare)), "without the value nothing of it is rendered"
    for kind in ("Role", "ClusterRole"):
        assert of_kind(found, kind) == of_kind(bare, kind)


def test_people_learn_the_kinds_by_aggregation(helm4: Helm, tmp_path) -> None:
    found = objects(helm4.template({}, tmp_path))
    view, edit, admin = (
        named(found, "ClusterRole", f"operators:seedbed:{role}") for role in ("view", "edit", "admin")
    )
    for role, thing in (("view", view), ("edit", edit), ("admin", admin)):
        assert thing["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{role}"] == "true"
    assert {verb for *_, verb in rights(view["rules"])} == {"get", "list", "watch"}
    assert {resource for _, resource, _ in rights(edit["rules"])} == {"trainingjobs", "sweepjobs"}
    assert {resource for _, resource, _ in rights(admin["rules"])} == {"trainingprofiles"}


def test_the_operators_pod_is_restricted(helm4: Helm, tmp_path) -> None:
    spec = pod_template(objects(helm4.template({}, tmp_path)))["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {volume["name"]: set(volume) - {"name"} for volume in spec["volumes"]} == {"tmp": {"emptyDir"}}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def policy(helm: Helm, values: Json, folder, name: str) -> Json:
    spec: Json = named(objects(helm.template(values, folder)), "NetworkPolicy", name)["spec"]
    return spec


def fence(helm: Helm, values: Json, folder) -> Json:
    """Return the policy that the operator of a release makes for a job."""
    spec = job_network_policy(objects(helm.template(values, folder)))
    assert spec is not None
    return spec


def test_pods_of_a_job_hear_each_other_and_the_operators_question_for_progress(helm4: Helm, tmp_path) -> None:
    spec = fence(helm4, {}, tmp_path)
    each_other, operator = spec["ingress"]
    assert each_other == {"from": [{"podSelector": spec["podSelector"]}]}, "Ray opens random ports"
    assert JOB_UID_LABEL in spec["podSelector"]["matchLabels"], "not the pods of other jobs"
    assert operator["ports"] == [{"protocol": "TCP", "port": PROGRESS_PORT}]
    (asker,) = operator["from"]
    assert asker["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "operators"}}
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_the_selectors_of_policies_are_the_labels_of_the_pods(helm4: Helm, tmp_path) -> None:
    labels = pod_template(objects(helm4.template({}, tmp_path)))["metadata"]["labels"]
    operator = policy(helm4, {}, tmp_path, "seedbed-operator")
    asker = fence(helm4, {}, tmp_path)["ingress"][1]["from"][0]
    for selector in (operator["podSelector"], asker["podSelector"]):
        assert selector["matchLabels"].items() <= labels.items()


def test_training_pods_carry_the_labels_that_policies_select(helm4: Helm, tmp_path) -> None:
    labels = pod_labels(a_training_job().build(), 1, "driver")
    rule = policy(helm4, {}, tmp_path, "seedbed-operator")["egress"][-1]
    (asked,) = rule["to"]
    for selector in (fence(helm4, {}, tmp_path)["podSelector"], asked["podSelector"]):
        assert selector["matchLabels"].items() <= labels.items()
    assert rule["ports"][0]["port"] == PROGRESS_PORT


def test_egress_is_everything_but_metadata_services(helm4: Helm, tmp_path) -> None:
    each_other, dns, stores = fence(helm4, {}, tmp_path)["egress"]
    assert "podSelector" in each_other["to"][0]
    assert {port["port"] for port in dns["ports"]} == {53, 5353}
    refused = {cidr for peer in stores["to"] for cidr in peer["ipBlock"]["except"]}
    assert refused == set(METADATA_ADDRESSES), "chart and operator refuse the same"
    assert [peer["ipBlock"]["cidr"] for peer in stores["to"]] == ["0.0.0.0/0", "::/0"]


def test_restricted_egress_is_dns_each_other_and_what_is_allowed(helm4: Helm, tmp_path) -> None:
    allow = [{"ports": [{"protocol": "TCP", "port": 9000}]}]
    values = {"networkPolicy": {"training": {"egress": {"restricted": True, "allow": allow}}}}
    each_other, dns, *stores = fence(helm4, values, tmp_path)["egress"]
    assert "podSelector" in each_other["to"][0]
    assert {port["port"] for port in dns["ports"]} == {53, 5353}
    assert stores == allow


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["a", "b"]}], ids=["all", "named"])
def test_the_chart_itself_lets_no_training_pods_of_a_namespace_reach_each_other(
    helm4: Helm, values: Json, tmp_path
) -> None:
    """Policies add up: one for all training pods of a namespace would open each job to the others."""
    found = of_kind(objects(helm4.template(values, tmp_path)), "NetworkPolicy")
    assert [each["metadata"]["name"] for each in found] == ["seedbed-operator"]


def test_no_policies_are_a_choice_that_is_named_and_said(helm4: Helm, tmp_path) -> None:
    found = objects(helm4.template({"networkPolicy": {"enabled": False}}, tmp_path))
    assert job_network_policy(found) is None
    assert of_kind(found, "NetworkPolicy") == []
    role = named(found, "ClusterRole", "operators:seedbed:operator")
    assert "networkpolicies" not in {resource for _, resource, _ in rights(role["rules"])}


def test_the_operator_is_reached_by_nobody_unless_metrics_are_allowed(helm4: Helm, tmp_path) -> None:
    assert "ingress" not in policy(helm4, {}, tmp_path, "seedbed-operator")
    peers = [{"namespaceSelector": {}}]
    values = {"networkPolicy": {"operator": {"metricsFrom": peers}}}
    (rule,) = policy(helm4, values, tmp_path, "seedbed-operator")["ingress"]
    assert rule == {"ports": [{"protocol": "TCP", "port": "health"}], "from": peers}


def notes(helm: Helm, values: Json, folder) -> str:
    """Return what Helm 4 says after an installation that is not carried out; Helm 3 would ask a cluster."""
    said = helm.run(
        *("install", "seedbed", str(CHART), "--namespace", "operators", "--dry-run=client"),
        *("--values", str(values_file(values, folder))),
    )
    return said.partition("NOTES:\n")[2]


def test_the_notes_say_which_profiles_nobody_may_use(helm4: Helm, tmp_path) -> None:
    granting = {"image": IMAGE, "priorityClassName": "high", "serviceAccountName": "trainer"}
    granting |= {"cache": {"type": "HostPath", "hostPath": {"path": "/c"}}}
    profiles = {
        "plain": {"image": IMAGE, "serviceAccountName": "default", "cache": {"sizeLimit": "1Gi"}},
        "named": {**granting, "allowedNamespaces": {"names": ["a"]}},
        "granting": granting,
    }
    lines = [
        line for line in notes(helm4, {"profiles": profiles}, tmp_path).splitlines() if "WARNING" in line
    ]
    assert lines == [
        "WARNING: no namespace may use the profile granting: it grants cache.hostPath, priorityClassName, "
        "serviceAccountName. Name the namespaces in profiles.granting.allowedNamespaces."
    ]


def test_the_notes_say_whether_jobs_have_policies(helm4: Helm, tmp_path) -> None:
    assert "Each job gets a NetworkPolicy." in notes(helm4, {}, tmp_path)
    off = notes(helm4, {"networkPolicy": {"enabled": False}}, tmp_path)
    assert "NetworkPolicies are OFF (networkPolicy.enabled): every pod of this cluster can connect" in off
