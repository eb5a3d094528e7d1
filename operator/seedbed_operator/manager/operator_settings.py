"""Settings of the operator; an invalid value is one line with option, value and fix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seedbed_api.errors import UserError, refusal
from seedbed_api.pod_contract.pod_environment import GpuExchange
from seedbed_operator.backends.network_policy import NetworkRules
from seedbed_operator.manager.network_rules import DEFAULT, parse_network_rules

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LEASE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the operator runs."""

    namespaces: tuple[str, ...] = ()
    """Namespaces whose jobs it runs; none of them with `all_namespaces`."""
    all_namespaces: bool = False
    lease_namespace: str = "default"
    """Namespace of the Lease that only one operator holds."""
    lease_name: str = "seedbed-operator"
    identity: str = "seedbed-operator"
    """Who holds the Lease; the name of the pod."""
    relist_seconds: int = 120
    """Time between two lists of everything."""
    health_port: int = 8080
    """Port of /healthz, /readyz and /metrics; 0 for a free one."""
    concurrency: int = 32
    """Reconciles in parallel in one namespace; four times as many in all of them."""
    kubeconfig: str | None = None
    signing_key: Path | None = None
    """File with the private key that signs receipts; None: they are not signed."""
    store_signatures: bool = True
    """Whether a pod stores each signature beside its receipt."""
    log_format: Literal["json", "text"] = "text"
    network_policy: str = DEFAULT
    """Which NetworkPolicy each job gets: default, none, or its rules as JSON."""
    gpu_exchange: Literal["auto", "nccl", "sealed"] = "auto"
    """How ranks on GPUs exchange; auto: by NCCL where each job has a NetworkPolicy."""
    grace_seconds: int = 20
    """Time for running reconciles to end after SIGTERM."""

    @property
    def network_rules(self) -> NetworkRules | None:
        """Return the rules of the NetworkPolicies; None where none are made."""
        return parse_network_rules(self.network_policy)

    @property
    def exchange_of_gpus(self) -> GpuExchange:
        """Return how ranks on GPUs exchange."""
        if self.gpu_exchange == "auto":
            return "Sealed" if self.network_rules is None else "NCCL"
        return "NCCL" if self.gpu_exchange == "nccl" else "Sealed"

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """Return what to list: the namespaces, or None for all of them."""
        return (None,) if self.all_namespaces else self.namespaces

    def check(self) -> Settings:
        """Return the settings; raise UserError for the first invalid one."""
        if self.all_namespaces == bool(self.namespaces):
            raise _refused(
                "--namespace",
                ",".join(self.namespaces),
                "must be given exactly when --all-namespaces is not",
                "name the namespaces to serve, or give --all-namespaces alone",
            )
        for namespace in self.namespaces:
            _match(_NAMESPACE, "--namespace", namespace)
        _match(_NAMESPACE, "--lease-namespace", self.lease_namespace)
        _match(_LEASE, "--lease-name", self.lease_name)
        parse_network_rules(self.network_policy)
        _between("--relist-seconds", self.relist_seconds, 1, 3600)
        _between("--health-port", self.health_port, 0, 65535)
        _between("--concurrency", self.concurrency, 1, 1024)
        _between("--grace-seconds", self.grace_seconds, 1, 600)
        return self


def _match(pattern: re.Pattern[str], option: str, value: str) -> None:
    if not pattern.fullmatch(value):
        raise _refused(
            option, value, "is not the name of an object", "use lower case letters, digits, dashes"
        )


def _between(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _refused(option, value, f"must be between {least} and {most}", "choose a value in between")


def _refused(option: str, value: object, problem: str, fix: str) -> UserError:
    return UserError("InvalidOption", refusal(option, value, problem, fix))
