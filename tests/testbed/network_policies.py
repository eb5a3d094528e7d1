"""NetworkPolicies as an nftables ruleset: a pure function of what the API server holds. The bridge plugin has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
TABLE = "seedbed-policies"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """What policies can say about a pod."""

    namespace: str
    address: str
    labels: Mapping[str, str]
    ports: Mapping[str, int]
    """Its named ports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """All that decides who may talk to whom."""

    policies: Sequence[Json]
    pods: Sequence[Pod]
    namespaces: Mapping[str, Mapping[str, str]]
    """Labels by name."""


def pod_facts(pod: Json) -> Pod | None:
    """Return what is known of a pod object; None while it has no address."""
    address = pod.get("status", {}).get("podIP")
    if not address or pod["status"]["phase"] not in ("Pending", "Running") or pod["spec"].get("hostNetwork"):
        return None
    ports = (port for each in pod["spec"]["containers"] for port in each.get("ports", []))
    return Pod(
        namespace=pod["metadata"]["namespace"],
        address=address,
        labels=pod["metadata"].get("labels", {}),
        ports={port["name"]: port["containerPort"] for port in ports if "name" in port},
    )


def ruleset(cluster: Cluster) -> str:
    """Return the whole table; what no policy selects is free, answers are free, the node's own processes reach all."""
    chains, outgoing, incoming = "", "", ""
    for pod in sorted(cluster.pods, key=lambda each: each.address):
        for direction, jumps in (("egress", "saddr"), ("ingress", "daddr")):
            rules = _isolation(cluster, pod, direction)
            if rules is None:
                continue
            chain = f"{direction}-{pod.address.replace('.', '-')}"
            body = "".join(f"    {rule} return\n" for rule in rules)
            chains += f"  chain {chain} {{\n{body}    drop\n  }}\n"
            jump = f"    ip {jumps} {pod.address} jump {chain}\n"
            outgoing, incoming = (
                (outgoing + jump, incoming) if direction == "egress" else (outgoing, incoming + jump)
            )
    answers = "    ct state established,related accept\n"
    forward = f"    type filter hook forward priority -5\n{answers}{outgoing}{incoming}"
    inward = f"    type filter hook input priority -5\n{answers}{outgoing}"
    return (
        f"table inet {TABLE}\ndelete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n{chains}  chain forward {{\n{forward}  }}\n  chain inward {{\n{inward}  }}\n}}\n"
    )


def _isolation(cluster: Cluster, pod: Pod, direction: str) -> list[str] | None:
    """Return what a pod may receive or send, or None where no policy speaks of it."""
    selecting = [
        policy
        for policy in cluster.policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction.capitalize() in _types(policy["spec"])
        and selects(policy["spec"].get("podSelector", {}), pod.labels)
    ]
    if not selecting:
        return None
    rules = (rule for policy in selecting for rule in policy["spec"].get(direction, []))
    return [line for rule in rules for line in _lines(cluster, pod, direction, rule)]


def _types(spec: Json) -> Sequence[str]:
    default = ["Ingress", "Egress"] if "egress" in spec else ["Ingress"]
    types: Sequence[str] = spec.get("policyTypes", default)
    return types


def _lines(cluster: Cluster, pod: Pod, direction: str, rule: Json) -> Iterator[str]:
    side, peers = ("saddr", "from") if direction == "ingress" else ("daddr", "to")
    ports = [_port(pod, port) for port in rule.get("ports", [])] or [""]
    if not rule.get(peers):
        yield from (port or "ip version 4" for port in ports)
        return
    for peer in rule[peers]:
        addresses = _addresses(cluster, pod.namespace, peer, side)
        if addresses:
            yield from (f"ip {side} {addresses} {port}".rstrip() for port in ports)


def _port(pod: Pod, port: Json) -> str:
    protocol = port.get("protocol", "TCP").lower()
    if "port" not in port:
        return f"meta l4proto {protocol}"
    number = port["port"] if isinstance(port["port"], int) else pod.ports.get(port["port"], 0)
    until = f"-{port['endPort']}" if "endPort" in port else ""
    return f"{protocol} dport {number}{until}"


def _addresses(cluster: Cluster, namespace: str, peer: Json, side: str) -> str:
    """Return a set of addresses as nft writes it; empty where nobody is meant."""
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        if ":" in block["cidr"]:
            return ""  # pods have no IPv6 address
        excluded = ", ".join(block.get("except", []))
        return str(block["cidr"]) + (f" ip {side} != {{ {excluded} }}" if excluded else "")
    chosen = (
        {name for name, labels in cluster.namespaces.items() if selects(peer["namespaceSelector"], labels)}
        if "namespaceSelector" in peer
        else {namespace}
    )
    wanted = peer.get("podSelector", {})
    found = [
        each.address for each in cluster.pods if each.namespace in chosen and selects(wanted, each.labels)
    ]
    return f"{{ {', '.join(sorted(found))} }}" if found else ""


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Say whether a label selector of the API selects an object."""
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return equal and all(_holds(each, labels) for each in selector.get("matchExpressions", []))


def _holds(expression: Json, labels: Mapping[str, str]) -> bool:
    key, operator = str(expression["key"]), str(expression["operator"])
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) == (operator == "Exists")
    inside: bool = labels.get(key) in expression["values"]
    return inside == (operator == "In")
