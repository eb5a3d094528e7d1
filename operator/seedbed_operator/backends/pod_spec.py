"""Pod specs for Pod Security level *restricted*: security context, resources, tolerations, placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed_api.pod_contract import paths
from seedbed_api.resource_quantities import multiply_quantity
from seedbed_api.trainingprofile import Driver, Resources, Toleration, Worker
from seedbed_operator.backends.effective_profile import EffectiveProfile
from seedbed_operator.backends.pod_env import Variable
from seedbed_operator.backends.pod_volumes import Mount, disk_limit, mounts_of

USER = 1000
_WITH_GPUS = ("worker", "verifier")
"""Roles that compute."""
_LOST_NODE_SECONDS = 10
"""How long a pod stays on a node that does not answer; Kubernetes' default is five minutes."""
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_POD_SECURITY = {
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "runAsGroup": USER,
    "runAsNonRoot": True,
    "runAsUser": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(
    role: str,
    effective: EffectiveProfile,
    image: str,
    *,
    env: list[Variable],
    resources: Resources,
    ranks: int = 1,
) -> dict[str, Any]:
    """Return the only container of a pod that holds `ranks` ranks."""
    requested = _resources(effective, resources, ranks, _gpus(effective, ranks) if role in _WITH_GPUS else {})
    return {
        "name": role,
        "image": image,
        "imagePullPolicy": effective.profile.image_pull_policy,
        "command": ["seedbed", role],
        "env": env,
        "resources": requested,
        "securityContext": _CONTAINER_SECURITY,
        "terminationMessagePath": paths.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount.entry for mount in _mounts(effective, requested)],
    }


def pod_spec(
    effective: EffectiveProfile, box: dict[str, Any], place: Driver | Worker, *, grace_seconds: int
) -> dict[str, Any]:
    """Return the spec of a pod around its container."""
    optional = {
        "imagePullSecrets": [{"name": name} for name in effective.pull_secrets],
        "nodeSelector": dict(place.node_selector),
        "priorityClassName": effective.priority_class,
        "runtimeClassName": effective.profile.runtime_class_name,
    }
    return {
        "automountServiceAccountToken": False,
        "containers": [box],
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": _POD_SECURITY,
        "serviceAccountName": effective.service_account,
        "terminationGracePeriodSeconds": grace_seconds,
        "tolerations": _tolerations(place.tolerations),
        "volumes": [mount.volume for mount in _mounts(effective, box["resources"])],
        **{name: value for name, value in optional.items() if value},
    }


def worker_placement(effective: EffectiveProfile, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the topology spread of the workers of an attempt."""
    spread = effective.profile.worker.topology_spread
    if spread.mode == "None":
        return {}
    constraint = {
        "maxSkew": 1,
        "topologyKey": spread.topology_key,
        "whenUnsatisfiable": "DoNotSchedule" if spread.mode == "Required" else "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }
    return {"topologySpreadConstraints": [constraint]}


def _mounts(effective: EffectiveProfile, requested: dict[str, Any]) -> tuple[Mount, ...]:
    return mounts_of(effective, memory=requested["limits"]["memory"])


def _resources(
    effective: EffectiveProfile, asked: Resources, ranks: int, gpus: dict[str, str]
) -> dict[str, Any]:
    memory = {"memory": multiply_quantity(asked.memory, ranks)}
    requested, most = _disk(effective, asked, ranks)
    return {
        "requests": {
            "cpu": multiply_quantity(asked.cpu, ranks),
            **memory,
            "ephemeral-storage": requested,
            **gpus,
        },
        "limits": {**memory, "ephemeral-storage": most, **gpus},
    }


def _disk(effective: EffectiveProfile, asked: Resources, ranks: int) -> tuple[str, str]:
    """Return request and limit of local disk; by default none is requested, so that small nodes will do."""
    if asked.ephemeral_storage is None:
        return "0", disk_limit(effective.profile)
    amount = multiply_quantity(asked.ephemeral_storage, ranks)
    return amount, amount


def _gpus(effective: EffectiveProfile, ranks: int) -> dict[str, str]:
    gpu = effective.profile.worker.gpu
    return {gpu.resource: str(gpu.count * ranks)} if gpu.count else {}


def _tolerations(of_the_profile: tuple[Toleration, ...]) -> list[dict[str, Any]]:
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _LOST_NODE_SECONDS,
        }
        for state in ("not-ready", "unreachable")
    ]
    return [toleration.plain() for toleration in of_the_profile] + lost
