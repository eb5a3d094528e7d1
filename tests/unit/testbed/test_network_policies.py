"""Who may talk to whom under NetworkPolicies, as rules for nftables."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.network_policies import Cluster, Pod, pod_facts, ruleset, selects

SERVER = Pod(namespace="a", address="10.88.1.2", labels={"app": "server"}, ports={"http": 8080})
CLIENT = Pod(namespace="a", address="10.88.1.3", labels={"app": "client"}, ports={})
STRANGER = Pod(namespace="b", address="10.88.2.2", labels={"app": "client"}, ports={})
NAMESPACES = {"a": {"team": "one"}, "b": {"team": "two"}}


def a_cluster(**spec: Any) -> Cluster:
    policy = {
        "metadata": {"namespace": "a"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, **spec},
    }
    return Cluster(policies=[policy], pods=[SERVER, CLIENT, STRANGER], namespaces=NAMESPACES)


def rules_of(cluster: Cluster, chain: str) -> list[str]:
    """Return the lines of one chain, None of it being there is an empty list."""
    lines = [line.strip() for line in ruleset(cluster).splitlines()]
    if f"chain {chain} {{" not in lines:
        return []
    start = lines.index(f"chain {chain} {{")
    return lines[start + 1 : lines.index("}", start)]


INGRESS = [
    ("nobody is let in by an empty list", [], ["drop"]),
    ("everybody is let in by an empty rule", [{}], ["ip version 4 return", "drop"]),
    (
        "pods of the same namespace by their labels",
        [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}],
        ["ip saddr { 10.88.1.3 } return", "drop"],
    ),
    (
        "pods of another namespace by its labels",
        [{"from": [{"namespaceSelector": {"matchLabels": {"team": "two"}}}]}],
        ["ip saddr { 10.88.2.2 } return", "drop"],
    ),
    (
        "pods of all namespaces by both",
        [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}]}],
        ["ip saddr { 10.88.1.3, 10.88.2.2 } return", "drop"],
    ),
    (
        "nobody where the labels name nobody",
        [{"from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}],
        ["drop"],
    ),
    (
        "a port by its number",
        [{"ports": [{"port": 6379}]}],
        ["tcp dport 6379 return", "drop"],
    ),
    ("a port by its name", [{"ports": [{"port": "http"}]}], ["tcp dport 8080 return", "drop"]),
    (
        "a range of ports of one peer",
        [{"from": [{"podSelector": {}}], "ports": [{"port": 10, "endPort": 20, "protocol": "UDP"}]}],
        ["ip saddr { 10.88.1.2, 10.88.1.3 } udp dport 10-20 return", "drop"],
    ),
    (
        "addresses but for some",
        [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.88.0.1/32"]}}]}],
        ["ip saddr 10.0.0.0/8 ip saddr != { 10.88.0.1/32 } return", "drop"],
    ),
]


@pytest.mark.parametrize(
    ("rules", "expected"), [case[1:] for case in INGRESS], ids=[case[0] for case in INGRESS]
)
def test_who_is_let_in(rules: list[Any], expected: list[str]) -> None:
    assert rules_of(a_cluster(ingress=rules, policyTypes=["Ingress"]), "ingress-10-88-1-2") == expected


def test_egress_is_judged_by_where_it_goes() -> None:
    cluster = a_cluster(
        egress=[{"to": [{"podSelector": {"matchLabels": {"app": "client"}}}]}], policyTypes=["Egress"]
    )
    assert rules_of(cluster, "egress-10-88-1-2") == ["ip daddr { 10.88.1.3 } return", "drop"]
    assert rules_of(cluster, "ingress-10-88-1-2") == []


def test_a_pod_of_which_no_policy_speaks_is_free() -> None:
    text = ruleset(a_cluster(policyTypes=["Ingress", "Egress"]))
    assert CLIENT.address not in text
    assert STRANGER.address not in text


def test_what_several_policies_allow_is_allowed() -> None:
    one, two = (a_cluster(ingress=[{"ports": [{"port": port}]}]).policies[0] for port in (1, 2))
    cluster = Cluster(policies=[one, two], pods=[SERVER], namespaces=NAMESPACES)
    assert rules_of(cluster, "ingress-10-88-1-2") == ["tcp dport 1 return", "tcp dport 2 return", "drop"]


def test_a_policy_of_another_namespace_does_not_count() -> None:
    policy = {"metadata": {"namespace": "b"}, "spec": {"podSelector": {}}}
    cluster = Cluster(policies=[policy], pods=[SERVER], namespaces=NAMESPACES)
    assert SERVER.address not in ruleset(cluster)


SELECTORS = [
    ("nothing asked", {}, True),
    ("an equal value", {"matchLabels": {"app": "server"}}, True),
    ("another value", {"matchLabels": {"app": "client"}}, False),
    (
        "one of several",
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "server"]}]},
        True,
    ),
    (
        "none of several",
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["server"]}]},
        False,
    ),
    (
        "no value is none of several",
        {"matchExpressions": [{"key": "z", "operator": "NotIn", "values": ["x"]}]},
        True,
    ),
    ("there", {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
    ("not there", {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
]


@pytest.mark.parametrize(
    ("selector", "expected"), [case[1:] for case in SELECTORS], ids=[case[0] for case in SELECTORS]
)
def test_selectors(selector: Any, expected: bool) -> None:
    assert selects(selector, SERVER.labels) is expected


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_the_address_of_an_ended_pod_may_be_another_ones(phase: str) -> None:
    pod = {
        "metadata": {"namespace": "a"},
        "spec": {"containers": []},
        "status": {"phase": phase, "podIP": "10.88.1.9"},
    }
    assert pod_facts(pod) is None


def test_blocks_of_addresses_without_some_and_of_another_family() -> None:
    block = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16", "10.0.0.1/32"]}
    to = [{"ipBlock": block}, {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}]
    cluster = a_cluster(policyTypes=["Egress"], egress=[{"to": to}])
    assert rules_of(cluster, "egress-10-88-1-2") == [
        "ip daddr 0.0.0.0/0 ip daddr != { 169.254.0.0/16, 10.0.0.1/32 } return",
        "drop",
    ]
