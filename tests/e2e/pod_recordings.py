"""Pods with containers that others put into them, as a real kubelet tells of them: what the unit tests read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.kube import Json
from testbed.testbeds import WORKLOAD_IMAGE, Testbed

PLACE = Path(__file__).parents[1] / "unit" / "operator" / "informer_cache" / "recorded"
"""One file for each situation."""
NOWHERE = "registry.invalid:5000/istio/proxyv2:1.99"
"""An image that no node can pull."""
DENIED = "echo permission denied on secret/team; exit 3"


def runs(name: str, script: str, **fields: Any) -> Json:
    """Return a container that runs a script of the shell."""
    command = ["sh", "-c", script]
    return {"name": name, "image": WORKLOAD_IMAGE, "imagePullPolicy": "Never", "command": command, **fields}


def status_of(pod: Json, name: str) -> Json:
    """Return the status of a container."""
    status = pod["status"]
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return next((each for each in every if each["name"] == name), {})


def waits(name: str, *reasons: str) -> Callable[[Json], bool]:
    """Tell when a container waits for one of some reasons."""
    return lambda pod: status_of(pod, name).get("state", {}).get("waiting", {}).get("reason") in reasons


def is_in(name: str, state: str) -> Callable[[Json], bool]:
    """Tell when a container is in a state."""
    return lambda pod: state in status_of(pod, name).get("state", {})


def both(*seen: Callable[[Json], bool]) -> Callable[[Json], bool]:
    """Tell when all is seen."""
    return lambda pod: all(each(pod) for each in seen)


def has_ended(pod: Json) -> bool:
    """Tell when a pod has ended."""
    return pod["status"]["phase"] in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A driver pod, what others have put into it, and when it is recorded."""

    until: Callable[[Json], bool]
    before: tuple[Json, ...] = ()
    """Init containers."""
    beside: tuple[Json, ...] = ()
    script: str = "sleep 600"
    """What the driver does."""
    driver: Mapping[str, Any] = field(default_factory=dict)


PULLS = ("ErrImagePull", "ImagePullBackOff")
UNREADY = {"startupProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}}
NO_SECRET = {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "x"}}}]}
SITUATIONS: dict[str, Situation] = {
    "plain": Situation(until=is_in("driver", "running")),
    "image": Situation(driver={"image": NOWHERE, "imagePullPolicy": "Always"}, until=waits("driver", *PULLS)),
    "init-image": Situation(
        before=({**runs("istio-init", ""), "image": NOWHERE, "imagePullPolicy": "Always"},),
        until=waits("istio-init", *PULLS),
    ),
    "init-failed": Situation(before=(runs("vault-agent-init", DENIED),), until=has_ended),
    "init-hangs": Situation(
        before=(runs("vault-agent-init", "sleep 600"),), until=is_in("vault-agent-init", "running")
    ),
    "second-init-hangs": Situation(
        before=(runs("istio-init", "true"), runs("vault-agent-init", "sleep 600")),
        until=is_in("vault-agent-init", "running"),
    ),
    "init-config": Situation(
        before=(runs("vault-agent-init", "true", **NO_SECRET),),
        until=waits("vault-agent-init", "CreateContainerConfigError"),
    ),
    "init-done": Situation(before=(runs("istio-init", "true"),), until=is_in("driver", "running")),
    "sidecar-crashes": Situation(
        before=(runs("istio-proxy", "echo no control plane; exit 5", restartPolicy="Always", **UNREADY),),
        until=waits("istio-proxy", "CrashLoopBackOff"),
    ),
    "sidecar-hangs": Situation(
        before=(
            runs(
                "istio-proxy",
                "sleep 600",
                restartPolicy="Always",
                startupProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 600},
            ),
        ),
        until=is_in("istio-proxy", "running"),
    ),
    "sidecar-runs": Situation(
        before=(runs("istio-proxy", "sleep 600", restartPolicy="Always"),), until=is_in("driver", "running")
    ),
    "sidecar-after-the-driver": Situation(
        before=(runs("istio-proxy", "sleep 600", restartPolicy="Always"),), script="true", until=has_ended
    ),
    "beside-image": Situation(
        beside=({**runs("log-shipper", ""), "image": NOWHERE, "imagePullPolicy": "Always"},),
        until=both(waits("log-shipper", *PULLS), is_in("driver", "running")),
    ),
    "beside-failed": Situation(
        beside=(runs("istio-proxy", DENIED),),
        until=both(is_in("istio-proxy", "terminated"), is_in("driver", "running")),
    ),
    "beside-after-the-driver": Situation(
        beside=(runs("istio-proxy", "sleep 600"),),
        script="exit 1",
        until=both(is_in("driver", "terminated"), is_in("istio-proxy", "running")),
    ),
    "beside-failed-with-the-driver": Situation(
        beside=(runs("istio-proxy", DENIED),), script="sleep 3; exit 1", until=has_ended
    ),
}


def recorded(testbed: Testbed, namespace: str, name: str) -> Json:
    """Make a situation on a real node and return the pod as the API server tells of it then."""
    situation = SITUATIONS[name]
    labels = {"app.kubernetes.io/managed-by": "recording", "seedbed.dev/job": "digits"}
    labels |= {"seedbed.dev/role": "driver", "seedbed.dev/attempt": "1"}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "initContainers": list(situation.before),
        "containers": [{**runs("driver", situation.script), **situation.driver}, *situation.beside],
    }
    pods = f"/api/v1/namespaces/{namespace}/pods"
    testbed.kube.create(pods, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    try:
        seen = testbed.kube.wait_for(f"{pods}/{name}", situation.until, seconds=240)
    finally:
        testbed.kube.delete(f"{pods}/{name}", grace_seconds=0)
    return without_noise(seen)


def without_noise(pod: Json) -> Json:
    """Return a pod without what no test reads."""
    pod = json.loads(json.dumps(pod))
    pod["metadata"].pop("managedFields", None)
    kept = ("name", "image", "restartPolicy", "startupProbe", "command")
    spec = pod["spec"]
    for part in ("initContainers", "containers"):
        spec[part] = [{key: each[key] for key in kept if key in each} for each in spec.get(part, ())]
    pod["spec"] = {key: spec[key] for key in ("initContainers", "containers", "nodeName") if key in spec}
    return pod
