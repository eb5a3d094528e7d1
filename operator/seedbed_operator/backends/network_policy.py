"""The NetworkPolicy of a job: its pods reach each other; what else may pass is a setting of the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from seedbed_api.pod_contract.labels import JOB_UID_LABEL, MANAGED_BY_LABEL, SEEDBED
from seedbed_operator.backends.child_metadata import job_labels, job_owner_reference, metadata
from seedbed_operator.job_observation import JobView
from seedbed_operator.plan import Create

Rule = Mapping[str, Any]

METADATA_ADDRESSES: Final = (
    "169.254.0.0/16",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fe80::/10",
    "fd00:ec2::/32",
    "fd20:ce::254/128",
)
"""Link-local addresses, and other metadata services: Alibaba, Azure, Oracle, and AWS and Google over IPv6."""


def _anywhere_but(refused: Sequence[str]) -> tuple[Rule, ...]:
    """Return an egress rule for all addresses except some."""
    blocks = (
        ("0.0.0.0/0", [cidr for cidr in refused if ":" not in cidr]),
        ("::/0", [cidr for cidr in refused if ":" in cidr]),
    )
    return ({"to": [{"ipBlock": {"cidr": cidr, "except": excluded}} for cidr, excluded in blocks]},)


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRules:
    """Rules of a NetworkPolicy beside those between the pods of a job."""

    ingress: tuple[Rule, ...] = ({"ports": [{"protocol": "TCP", "port": PROGRESS_PORT}]},)
    """Default: anybody may ask the driver for its progress, since it is not known where the operator runs."""
    egress: tuple[Rule, ...] = field(default_factory=lambda: _anywhere_but(METADATA_ADDRESSES))
    """Default: all addresses except link-local ones and those of metadata services."""


def network_policy(job: JobView, rules: NetworkRules) -> Create:
    """Return the policy of a job, which lives as long as the job."""
    pods = {"podSelector": {"matchLabels": {MANAGED_BY_LABEL: SEEDBED, JOB_UID_LABEL: job.uid}}}
    spec = {
        **pods,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [pods]}, *rules.ingress],
        "egress": [{"to": [pods]}, *rules.egress],
    }
    name = f"{job.name}-{job.uid[:8]}-pods"
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(job, name, job_labels(job), owner=job_owner_reference(job)),
        "spec": spec,
    }
    return Create(kind="NetworkPolicy", body=body)
