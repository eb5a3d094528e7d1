"""What somebody may try who may create TrainingJobs and nothing else, and what must become of it.

Each attempt is a change of a valid job whose profile is PROFILE, and one of four ends:

- `Server`: the API server refuses it (`server` is a part of its message), and so do the models;
- `Models`: the API server cannot see it; the job shows the reason InvalidSpec and has no pods;
- `Planning`: the operator refuses it: the job shows `reason` and does not train;
- `Harmless`: it is data; the pods are those of BASE (see `without_what_jobs_may_say`).

`manifest()` is the object to create; `profile_manifest()` its profile; `existing` are objects that are there before.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

from support.manifests.base_manifests import DIGEST, Case

End = Literal["Server", "Models", "Planning", "Harmless"]
NAME, NAMESPACE = "hostile", "default"
BASE = {
    "metadata.name": NAME,
    "spec.cluster": {"profile": "guarded", "workers": {"max": 2}},
}
PROFILE: dict[str, Any] = {
    "metadata.name": "guarded",
    "spec.allowedURIPrefixes": ["s3://datasets", "s3://runs/", "https://data.example.org", "s3://code/"],
    "spec.allowedSecrets": ["s3-read", "s3-write"],
    "spec.allowedPersistentVolumeClaims": ["datasets"],
    "spec.allowedOverrides": [
        *("image", "imagePullSecrets", "cpu", "memory", "workersPerPod", "serviceAccountName"),
        *("priorityClassName", "labels", "annotations", "env"),
    ],
    "spec.allowedImages": ["registry.example/team/", "registry.example/seedbed"],
    "spec.allowedServiceAccounts": ["trainer"],
    "spec.allowedPriorityClasses": ["low"],
    "spec.allowedLabels": ["example.org/"],
    "spec.allowedAnnotations": ["example.org/note"],
    "spec.allowedEnv": ["WANDB_MODE"],
    "spec.allowedNamespaces": {"selector": {}},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostileSpec:
    """A change of a valid job, and its end."""

    end: End
    change: dict[str, Any]
    server: str | None = None
    """A part of the API server's message, where its schema alone does not refuse the value."""
    reason: str | None = None
    """Reason of the condition Running where planning refuses it."""
    profile: dict[str, Any] = field(default_factory=dict)
    """Changes of PROFILE."""
    existing: tuple[dict[str, Any], ...] = ()
    """Objects of somebody else that are there before the job."""

    def manifest(self) -> dict[str, Any]:
        """Return the job."""
        return Case(change=copy.deepcopy(BASE) | self.change).manifest()

    def profile_manifest(self) -> dict[str, Any]:
        """Return its profile."""
        return Case(kind="TrainingProfile", change=copy.deepcopy(PROFILE) | self.profile).manifest()


OVER = "spec.cluster.overrides"
SHELL = "$(reboot) `id` ; rm -rf / # && {{ .Values }} %s %(x)s ${HOME} '\" \\"
YAML = "x\nsecurityContext: {privileged: true}\nhostNetwork: true\n--- \n"
RESERVED_KEY = "must not have keys of seedbed.dev"
RESERVED_NAME = "names a variable that only the operator sets"


def refused(path: str, value: Any, server: str | None = None) -> HostileSpec:
    """Return an attempt that the API server refuses."""
    return HostileSpec(end="Server", change={path: value}, server=server)


def unknown(path: str, value: Any) -> HostileSpec:
    """Return an attempt to set a field that there is not."""
    return refused(path, value, server="unknown field")


def variable(name: str, value: str = "x", server: str | None = RESERVED_NAME) -> HostileSpec:
    """Return an attempt to smuggle an environment variable."""
    return refused(OVER, {"env": [{"name": name, "value": value}]}, server)


def denied(path: str, value: Any, reason: str, **more: Any) -> HostileSpec:
    """Return an attempt that planning refuses."""
    return HostileSpec(end="Planning", change={path: value}, reason=reason, **more)


def harmless(path: str, value: Any, **more: Any) -> HostileSpec:
    """Return an attempt that is data and nothing else."""
    return HostileSpec(end="Harmless", change={path: value}, **more)


def foreign(kind: str, name: str, **labels: str) -> dict[str, Any]:
    """Return an object of somebody else."""
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": f"registry.example/x@{DIGEST}"}]}
    if kind == "Service":
        spec = {"ports": [{"port": 80}]}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


OURS = {"app.kubernetes.io/managed-by": "seedbed", "seedbed.dev/job": NAME, "seedbed.dev/attempt": "1"}

POD_FIELDS = {
    "a folder of the node": unknown(f"{OVER}.volumes", [{"name": "x", "hostPath": {"path": "/"}}]),
    "a mount": unknown(f"{OVER}.volumeMounts", [{"name": "x", "mountPath": "/etc/seedbed/secrets"}]),
    "the network of the node": unknown(f"{OVER}.hostNetwork", True),
    "the processes of the node": unknown("spec.cluster.hostPID", True),
    "privileges": unknown(f"{OVER}.securityContext", {"privileged": True, "runAsUser": 0}),
    "a pod template": unknown("spec.template", {"spec": {"hostIPC": True}}),
    "another command": unknown(f"{OVER}.command", ["sh", "-c", "id"]),
    "a node by name": unknown(f"{OVER}.nodeName", "control-plane"),
    "a toleration of everything": unknown(f"{OVER}.tolerations", [{"operator": "Exists"}]),
    "a token of the API server": unknown(f"{OVER}.automountServiceAccountToken", True),
    "an extra container": unknown(f"{OVER}.initContainers", [{"name": "x", "image": "x"}]),
    "all variables of a Secret": unknown(f"{OVER}.envFrom", [{"secretRef": {"name": "other"}}]),
}
OTHERS = {
    "a Secret of another namespace": unknown("spec.dataset.secretRef", {"name": "a", "namespace": "prod"}),
    "a Secret above its folder": refused("spec.output.secretRef", {"name": "../../prod/secrets/x"}),
    "a key of a Secret at a path": unknown(
        "spec.dataset.secretRef", {"name": "s3-read", "items": [{"key": "a", "path": "../../x"}]}
    ),
    "a service account of another namespace": refused(OVER, {"serviceAccountName": "kube-system:admin"}),
    "a profile at a path": refused("spec.cluster", {"profile": "../guarded"}),
    "a name with a path": refused(
        "metadata.name", "a/../../pods/b", server="metadata.name must be an RFC 1035 label"
    ),
    "a name too long for pods": refused(
        "metadata.name", "a" * 41, server="metadata.name must have at most 40 characters"
    ),
    "a name with a dot": refused("metadata.name", "a.b", server="metadata.name must be an RFC 1035 label"),
    "a Secret that is not listed": denied("spec.dataset.secretRef", {"name": "prod"}, "SecretNotAllowed"),
    "the operator's own Secret": denied(
        "spec.output.secretRef", {"name": "seedbed-operator-token"}, "SecretNotAllowed"
    ),
    "a pull Secret that is not listed": denied(OVER, {"imagePullSecrets": ["prod"]}, "SecretNotAllowed"),
    "a service account that is not listed": denied(
        OVER, {"serviceAccountName": "cluster-admin"}, "OverrideNotAllowed"
    ),
    "the priority of the node's own pods": denied(
        OVER, {"priorityClassName": "system-node-critical"}, "OverrideNotAllowed"
    ),
    "an image of somebody else": denied(
        OVER, {"image": f"registry.example/teams/miner@{DIGEST}"}, "OverrideNotAllowed"
    ),
    "an image whose tag looks like a repository": denied(
        OVER, {"image": f"evil.example:5000/registry.example/team/x@{DIGEST}"}, "OverrideNotAllowed"
    ),
    "an override where none is allowed": denied(
        OVER, {"memory": "1Ti"}, "OverrideNotAllowed", profile={"spec.allowedOverrides": []}
    ),
    "a profile of its own": denied("spec.cluster", {"profile": "mine"}, "ProfileNotFound"),
}
IMAGES = {
    "an image by tag": refused(OVER, {"image": "registry.example/team/x:latest"}),
    "a command in an image": refused(OVER, {"image": f"registry.example/team/$(id)@{DIGEST}"}),
    "an image above its repository": refused(OVER, {"image": f"registry.example/team/../other/x@{DIGEST}"}),
    "an image of two lines": refused(OVER, {"image": f"registry.example/team/x\n@{DIGEST}"}),
}
LABELS = {
    "the label of another job": refused(OVER, {"labels": {"seedbed.dev/job": "other"}}, RESERVED_KEY),
    "the label of another owner": refused(OVER, {"labels": {"seedbed.dev/job-uid": "x"}}, RESERVED_KEY),
    "a label that hides from the operator": refused(
        OVER, {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, RESERVED_KEY
    ),
    "an annotation that makes a mirror pod": refused(
        OVER, {"annotations": {"kubernetes.io/config.mirror": "x"}}, RESERVED_KEY
    ),
    "an annotation without AppArmor": refused(
        OVER,
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}},
        RESERVED_KEY,
    ),
    "an annotation of the autoscaler": refused(
        OVER, {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}, RESERVED_KEY
    ),
    "YAML in a label": refused(OVER, {"labels": {"example.org/a": YAML}}),
    "thirty-three labels": refused(OVER, {"labels": {f"example.org/l{n}": "x" for n in range(33)}}),
    "a giant annotation": refused(OVER, {"annotations": {"example.org/note": "x" * 4097}}),
    "a label with a key of YAML": HostileSpec(
        end="Models", change={OVER: {"labels": {"example.org/a: b\nc": "x"}}}
    ),
    "a label below a reserved domain in capitals": HostileSpec(
        end="Models", change={OVER: {"labels": {"Seedbed.dev/job": "other"}}}
    ),
    "a label that is not listed": denied(OVER, {"labels": {"team": "x"}}, "OverrideNotAllowed"),
    "a label of a domain that looks alike": denied(
        OVER, {"labels": {"example.organization/x": "x"}}, "OverrideNotAllowed"
    ),
    "an annotation that is not listed": denied(
        OVER, {"annotations": {"sidecar.istio.io/inject": "true"}}, "OverrideNotAllowed"
    ),
    "labels of the operator on the job": harmless(
        "metadata.labels", OURS | {"seedbed.dev/role": "driver", "seedbed.dev/job-uid": "0"}
    ),
    "annotations of the kubelet on the job": harmless(
        "metadata.annotations", {"kubernetes.io/config.mirror": "x", "k8s.v1.cni.cncf.io/networks": "host"}
    ),
    "another owner of the job": harmless(
        "metadata.ownerReferences",
        [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": "x",
                "uid": "00000000-0000-0000-0000-000000000000",
                "controller": False,
            }
        ],
    ),
    "YAML in an annotation that is allowed": harmless(OVER, {"annotations": {"example.org/note": YAML}}),
}
VARIABLES = {
    "a library to load": variable("LD_PRELOAD"),
    "a library path": variable("LD_LIBRARY_PATH"),
    "modules of its own": variable("PYTHONPATH"),
    "commands of its own": variable("PATH"),
    "the job of somebody else": variable("SEEDBED_JOB", "{}"),
    "the token of Ray": variable("RAY_AUTH_TOKEN"),
    "no token for Ray": variable("RAY_AUTH_MODE", "disabled"),
    "another store": variable("AWS_ENDPOINT_URL", "http://evil.example"),
    "another store through fsspec": variable("FSSPEC_S3_ENDPOINT_URL", "http://evil.example"),
    "other arithmetic": variable("NVIDIA_TF32_OVERRIDE", "1"),
    "resolver options": variable("RES_OPTIONS"),
    "a variable from a Secret": unknown(
        OVER, {"env": [{"name": "WANDB_MODE", "value": "", "valueFrom": {"secretKeyRef": {"name": "x"}}}]}
    ),
    "two variables in one name": variable("A=B\nC", server=None),
    "a variable in full-width letters": variable("ＰＡＴＨ", server=None),
    "a variable with a NUL": variable("WANDB_MODE", "a\0b", server=None),
    "a giant variable": variable("WANDB_MODE", "x" * 1025, server=None),
    "a variable twice": refused(
        OVER, {"env": [{"name": "WANDB_MODE", "value": v} for v in "ab"]}, server="Duplicate value"
    ),
    "a variable that is not listed": denied(
        OVER, {"env": [{"name": "HTTPS_PROXY", "value": "http://evil.example"}]}, "OverrideNotAllowed"
    ),
    "a reference to the token of Ray": harmless(
        OVER, {"env": [{"name": "WANDB_MODE", "value": "$(RAY_AUTH_TOKEN)"}]}
    ),
    "a shell in a variable": harmless(OVER, {"env": [{"name": "WANDB_MODE", "value": SHELL}]}),
}
PLACES = {
    "a claim above all claims": refused(
        "spec.dataset.uri", "pvc://.../etc", server="must name a claim after pvc://"
    ),
    "a folder above the claim": refused(
        "spec.dataset.uri", "pvc://datasets/../../../etc/shadow", server="must not have .. in a URL"
    ),
    "a folder above the claim, escaped": refused(
        "spec.output.uri", "pvc://datasets/%2e%2e/%2E./etc", server="must not have .. in a URL"
    ),
    "a folder above the prefix": refused(
        "spec.dataset.uri", "s3://datasets/small/../../private", server="must not have .. in a URL"
    ),
    "a password for another host": refused(
        "spec.dataset.uri",
        "https://data.example.org@evil.example/",
        server="must not hold a user or password",
    ),
    "a header in a URL": refused("spec.dataset.uri", "https://data.example.org/\r\nHost: evil"),
    "a URL that ends at a NUL": refused("spec.dataset.uri", "s3://datasets/small\0/../../private"),
    "a giant URL": refused("spec.dataset.uri", "s3://datasets/" + "x" * 1024),
    "the Secret of the output as dataset": denied(
        "spec.dataset.uri", "/etc/seedbed/secrets/output", "URINotAllowed"
    ),
    "the variables of the driver as dataset": denied(
        "spec.dataset.uri", "file:///proc/self/environ", "URINotAllowed"
    ),
    "a file in capitals": denied("spec.dataset.uri", "FILE:///etc/passwd", "URINotAllowed"),
    "a path relative to the image": denied("spec.output.uri", "../../usr/lib", "URINotAllowed"),
    "a file behind an archive": denied(
        "spec.dataset.uri", "zip://x::file:///etc/seedbed/secrets/output/x", "URINotAllowed"
    ),
    "a file behind an allowed store": denied(
        "spec.dataset.uri", "s3://datasets/x::file:///etc/passwd", "URINotAllowed"
    ),
    "files without any prefixes": denied(
        "spec.dataset.uri", "local:///etc", "URINotAllowed", profile={"spec.allowedURIPrefixes": []}
    ),
    "a claim that is not listed": denied("spec.dataset.uri", "pvc://prod/x", "URINotAllowed"),
    "a claim in capitals": denied("spec.dataset.uri", "PVC://prod/x", "URINotAllowed"),
    "a bucket that looks alike": denied("spec.dataset.uri", "s3://datasets-private/x", "URINotAllowed"),
    "a host that looks alike": denied(
        "spec.dataset.uri", "https://data.example.org.evil.example/x", "URINotAllowed"
    ),
    "credentials of the node": denied(
        "spec.dataset.uri", "http://169.254.169.254/latest/meta-data", "URINotAllowed"
    ),
    "code from elsewhere": denied(
        "spec.model",
        {"entrypoint": "mine.net:Net", "code": {"uri": "https://evil.example/x.whl"}},
        "URINotAllowed",
    ),
    "a shell in a URL": harmless("spec.dataset.uri", f"s3://datasets/{SHELL}"),
}
TEXTS = {
    "code in an entrypoint": refused("spec.model", {"entrypoint": "os:system('id')"}),
    "a statement in an entrypoint": refused("spec.model", {"entrypoint": "os;import sys:x"}),
    "an option as the name of an argument": refused("spec.model.args", [{"name": "--config", "value": "x"}]),
    "an argument twice": refused(
        "spec.model.args", [{"name": "a", "value": v} for v in "ab"], server="Duplicate value"
    ),
    "a path as the controller": refused("spec.managedBy", "seedbed.dev/../x\nid"),
    "no limit of memory": refused(OVER, {"memory": "0"}),
    "less than no cores": refused(OVER, {"cpu": "-1"}),
    "more arguments than a model has": refused(
        "spec.model.args", [{"name": f"a{n}", "value": ""} for n in range(65)]
    ),
    "more workers than machines in the world": refused("spec.cluster", {"workers": {"max": 2**40}}),
    "a giant backoffLimit": refused("spec.backoffLimit", 10**9),
    "a seed beyond what JSON carries": refused("spec.training.seed", 2**60),
    "a giant spec": denied(
        "spec.training.loss",
        {
            "type": "CrossEntropy",
            "crossEntropy": {
                "classWeights": [{"name": f"{n:04}" + "x" * 240, "weight": "1"} for n in range(1000)]
            },
        },
        "InvalidSpec",
    ),
    "a shell in an argument": harmless("spec.model.args", [{"name": "width", "value": SHELL}]),
    "YAML in an argument": harmless("spec.model.args", [{"name": "width", "value": YAML}]),
    "a NUL in an argument": harmless("spec.model.args", [{"name": "width", "value": "a\0b"}]),
    "text that runs backwards": harmless("spec.model.args", [{"name": "width", "value": "\u202etxt\u2028"}]),
    "a reference to a variable in an argument": harmless(
        "spec.model.args", [{"name": "width", "value": "$(RAY_AUTH_TOKEN)"}]
    ),
    "a status of its own": harmless(
        "status", {"attempts": 7, "environment": {"image": f"evil.example/x@{DIGEST}"}}
    ),
}
COLLISIONS = {
    "the driver's name is taken": denied(
        "spec.suspend", False, "NameConflict", existing=(foreign("Pod", f"{NAME}-1-driver"),)
    ),
    "the driver's name is taken by a pod in disguise": denied(
        "spec.suspend",
        False,
        "NameConflict",
        existing=(foreign("Pod", f"{NAME}-1-driver", **OURS, **{"seedbed.dev/role": "driver"}),),
    ),
    "the Service's name is taken": denied(
        "spec.suspend", False, "NameConflict", existing=(foreign("Service", f"{NAME}-1-head"),)
    ),
    "a worker's name is taken": denied(
        "spec.suspend", False, "NameConflict", existing=(foreign("Pod", f"{NAME}-1-worker-0"),)
    ),
    "a pod that bears the labels of the job": harmless(
        "spec.suspend", False, existing=(foreign("Pod", "stranger", **OURS),)
    ),
}

HOSTILE: dict[str, HostileSpec] = {
    **POD_FIELDS,
    **OTHERS,
    **IMAGES,
    **LABELS,
    **VARIABLES,
    **PLACES,
    **TEXTS,
    **COLLISIONS,
}


def attempts(*ends: End) -> dict[str, HostileSpec]:
    """Return the attempts with some ends."""
    return {name: attempt for name, attempt in HOSTILE.items() if attempt.end in ends}


_SAID = ("example.org/", "seedbed.dev/execution-digest")
"""The digest is of what a job says, and decides nothing but whether it still says so."""


def without_what_jobs_may_say(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's manifest without what a job of PROFILE may decide: its own spec as data, listed additions.

    The pods of a harmless attempt and those of BASE are equal in all the rest.
    """
    rest = copy.deepcopy(pod)
    for part in ("labels", "annotations"):
        entries = rest["metadata"].get(part, {})
        rest["metadata"][part] = {k: v for k, v in entries.items() if not k.startswith(_SAID)}
    for container in rest["spec"]["containers"]:
        said = ("SEEDBED_JOB", "WANDB_MODE")
        container["env"] = [entry for entry in container["env"] if entry["name"] not in said]
    return rest
