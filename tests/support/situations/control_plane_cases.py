"""Why a job is not running: what is set up for real, what the job must say, and what makes it go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from support.situations.cluster_setup import (
    JOB,
    Action,
    adds_nodes,
    awaits_admission,
    awaits_message,
    both,
    changes_job,
    changes_profile,
    creates,
    deletes,
    is_limited,
    is_refused,
    labels_namespace,
    leaves_a_pod_behind,
    lets_pods_pass,
    nothing,
    patches,
    patches_node,
    suspends_and_resumes,
)

GATE = 'Object{spec: Object.spec{schedulingGates: [Object.spec.schedulingGates{name: "kueue.x-k8s.io/admission"}]}}'
OVER = "spec.cluster.overrides"
HERE = {"matchLabels": {"kubernetes.io/metadata.name": "why-{name}"}}
"""Selects the namespace of the situation."""
OWN_POOL = {"spec.worker.nodeSelector": {"pool": "{name}"}}
"""Lets workers go to the nodes of the situation only."""
GPU = {**OWN_POOL, "spec.worker.gpu.count": 1}
ONE_GPU = {"nvidia.com/gpu": "1"}
CREATED_PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
A_VOLUME = {
    "accessModes": ["ReadOnlyMany"],
    "capacity": {"storage": "1Gi"},
    "hostPath": {"path": "/srv/{name}"},
    "claimRef": {"namespace": "why-{name}", "name": "digits"},
    "storageClassName": "",
}
A_CLAIM = {
    "accessModes": ["ReadOnlyMany"],
    "resources": {"requests": {"storage": "1Gi"}},
    "storageClassName": "",
}
FOR_ALL = {"spec.allowedNamespaces": {"selector": {}}}
"""Of a profile that grants what nobody gets unasked."""
ON_A_CLAIM = {"spec.allowedPersistentVolumeClaims": ["digits"]}
Condition = Literal["Reconciling", "Stalled", "Neither"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """One row; `{name}` in objects stands for the name of the situation."""

    reason: str
    """Of the condition Running."""
    says: tuple[str, ...]
    """What the message names: what is missing, and what to change."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """Changes of a job that would run."""
    profile: Mapping[str, Any] | None = field(default_factory=dict)
    """Changes of its profile; None: there is none."""
    before: Action = nothing
    """What somebody does before the job is created."""
    heals: Action | None = None
    """What somebody does so that the job goes on; None: nothing does."""
    then: str = "RayStarting"
    """Reason of Running when it has gone on: where pods run in name only, no driver ever answers."""
    happens: Action = nothing
    """What happens once all jobs are created."""
    announced: bool = True
    """Whether an Event tells it; stations of every job are not announced."""
    condition: Condition = "Reconciling"
    """Whether the operator goes on trying, or waits until a person acts."""


PROFILES = {
    "there is no such profile": Situation(
        profile=None,
        reason="ProfileNotFound",
        says=("spec.cluster.profile", "TrainingProfile there-is-no-such-profile does not exist", "create it"),
        heals=creates("TrainingProfile", spec={"image": "registry.example/seedbed@sha256:" + "0" * 64}),
    ),
    "the profile breaks a rule": Situation(
        profile={"spec.labels": {"example.org/": "x"}},
        reason="ProfileInvalid",
        says=("spec.labels", "must have keys like those of labels", "admin"),
        heals=changes_profile(labels={"example.org/": None}),
        condition="Stalled",
    ),
    "the profile grants a priority class and names no namespaces": Situation(
        profile={"spec.priorityClassName": "{name}"},
        reason="NamespaceNotAllowed",
        says=("spec.cluster.profile", "priorityClassName", "no allowedNamespaces", "ask the admin"),
        heals=changes_profile(priorityClassName=None),
        condition="Stalled",
    ),
    "the namespace is not named": Situation(
        profile={"spec.allowedNamespaces": {"names": ["team-a"]}},
        reason="NamespaceNotAllowed",
        says=("spec.cluster.profile", "allowedNamespaces", "why-the-namespace-is-not-named"),
        heals=changes_profile(allowedNamespaces={"names": ["why-the-namespace-is-not-named"]}),
        condition="Stalled",
    ),
    "the namespace lacks the label": Situation(
        profile={"spec.allowedNamespaces": {"selector": {"matchLabels": {"team": "vision"}}}},
        reason="NamespaceNotAllowed",
        says=("spec.cluster.profile", "allowedNamespaces"),
        heals=changes_profile(allowedNamespaces={"selector": {"matchLabels": {"team": None}}}),
        condition="Stalled",
    ),
    "the job is larger than the profile allows": Situation(
        profile={"spec.maxPerJob": {"memory": "1Gi"}},
        reason="ProfileLimitExceeded",
        says=("spec.cluster.workers.max", "maxPerJob.memory", "1Gi"),
        heals=changes_profile(maxPerJob={"memory": "1Ti"}),
        condition="Stalled",
    ),
    "the profile wants KubeRay": Situation(
        profile={"spec.backend": "KubeRay"},
        reason="BackendUnavailable",
        says=("KubeRay", "TrainingProfile the-profile-wants-kuberay", "Pods"),
        heals=changes_profile(backend="Pods"),
        condition="Stalled",
    ),
    "a Secret that is not listed": Situation(
        job={"spec.dataset.secretRef": {"name": "s3-read"}},
        reason="SecretNotAllowed",
        says=("spec.dataset.secretRef.name", "s3-read", "allowedSecrets"),
        heals=changes_profile(allowedSecrets=["s3-read"]),
        condition="Stalled",
    ),
    "a URL that is not listed": Situation(
        job={"spec.dataset.uri": "s3://private/digits"},
        profile={"spec.allowedURIPrefixes": ["s3://datasets/", "s3://runs"]},
        reason="URINotAllowed",
        says=("spec.dataset.uri", "s3://private/digits", "allowedURIPrefixes"),
        heals=changes_profile(allowedURIPrefixes=["s3://private/", "s3://runs"]),
        condition="Stalled",
    ),
    "an override that is not listed": Situation(
        job={OVER: {"memory": "64Gi"}},
        reason="OverrideNotAllowed",
        says=(f"{OVER}.memory", "64Gi", "allowedOverrides"),
        heals=both(changes_job(suspend=True), changes_job(suspend=False, cluster={"overrides": None})),
        condition="Stalled",
    ),
    "annotations that are too large": Situation(
        job={"metadata.annotations": {"example.org/notes": "x" * 9_000}},
        profile={"spec.allowedAnnotations": ["example.org/"]},
        reason="MetadataTooLarge",
        says=("metadata.annotations", "9017 bytes", "8192 bytes", "example.org/notes", "shorten or remove"),
        heals=patches("TrainingJob", JOB, metadata={"annotations": {"example.org/notes": None}}),
        condition="Stalled",
    ),
}
NODES = {
    "no node has a GPU": Situation(
        profile=GPU,
        before=adds_nodes(),
        reason="Unschedulable",
        says=("worker pod", "Insufficient nvidia.com/gpu", "add nodes to the pool"),
        heals=adds_nodes("gpu", resources=ONE_GPU),
    ),
    "a taint that nothing tolerates": Situation(
        profile=OWN_POOL,
        before=adds_nodes(taints=[{"key": "dedicated", "value": "vision", "effect": "NoSchedule"}]),
        reason="Unschedulable",
        says=(
            "worker pod",
            "untolerated taint",
            "add a toleration to the profile's worker",
            "suspend and resume the job",
        ),
        heals=both(
            changes_profile(worker={"tolerations": [{"key": "dedicated", "operator": "Exists"}]}),
            suspends_and_resumes,
        ),
    ),
    "a selector that no node fits": Situation(
        profile={"spec.worker.nodeSelector": {"pool": "{name}", "accelerator": "a100"}},
        before=adds_nodes(),
        reason="Unschedulable",
        says=("worker pod", "node affinity/selector", "accelerator=a100", "label nodes"),
        heals=patches_node(metadata={"labels": {"accelerator": "a100"}}),
    ),
    "no node has so much memory": Situation(
        profile={**OWN_POOL, "spec.worker.resources.memory": "1Ti"},
        before=adds_nodes(),
        reason="Unschedulable",
        says=("worker pod", "Insufficient memory", "resources of the profile"),
        heals=adds_nodes("large", resources={"memory": "2Ti"}),
    ),
    "the nodes are cordoned": Situation(
        profile=OWN_POOL,
        before=adds_nodes(cordoned=True),
        reason="Unschedulable",
        says=("worker pod", "were unschedulable", "uncordon nodes of the pool"),
        heals=patches_node(spec={"unschedulable": False}),
    ),
    "the claim is not there": Situation(
        job={"spec.dataset.uri": "pvc://digits/small"},
        profile=ON_A_CLAIM,
        reason="ClaimNotFound",
        says=("PersistentVolumeClaim digits does not exist", "create it in the namespace of the job"),
        heals=both(
            creates("PersistentVolume", spec=A_VOLUME),
            creates("PersistentVolumeClaim", "digits", spec={**A_CLAIM, "volumeName": "{name}"}),
        ),
    ),
    "the claim has no volume": Situation(
        job={"spec.dataset.uri": "pvc://digits/small"},
        profile=ON_A_CLAIM,
        before=creates("PersistentVolumeClaim", "digits", spec={**A_CLAIM, "volumeName": "{name}"}),
        reason="VolumeUnavailable",
        says=("PersistentVolumeClaim", "not bound", "storage class"),
        heals=creates("PersistentVolume", spec=A_VOLUME),
    ),
}
REFUSALS = {
    "the quota is used up": Situation(
        before=both(
            creates("ResourceQuota", "team", spec={"hard": {"pods": "0"}}),
            awaits_admission(is_refused),
            patches("ResourceQuota", "team", spec={"hard": {"pods": "1"}}),
        ),
        reason="QuotaExceeded",
        says=("ResourceQuota", "team", "limited: pods=1", "raise"),
        heals=patches("ResourceQuota", "team", spec={"hard": {"pods": "9"}}),
    ),
    "the quota wants limits of CPU": Situation(
        before=both(
            creates("ResourceQuota", "team", spec={"hard": {"limits.cpu": "64"}}),
            awaits_admission(is_refused),
        ),
        reason="QuotaExceeded",
        says=("must specify limits.cpu", "add a LimitRange"),
        heals=creates(
            "LimitRange", "defaults", spec={"limits": [{"type": "Container", "default": {"cpu": "8"}}]}
        ),
    ),
    "a LimitRange allows less": Situation(
        before=both(
            creates(
                "LimitRange", "small", spec={"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}
            ),
            awaits_admission(is_limited),
        ),
        reason="AdmissionDenied",
        says=("maximum memory usage per Container is 64Mi", "LimitRange"),
        heals=deletes("LimitRange", "small"),
    ),
    "an admission policy denies the pods": Situation(
        before=both(
            creates(
                "ValidatingAdmissionPolicy",
                spec={
                    "matchConstraints": {"namespaceSelector": HERE, "resourceRules": [CREATED_PODS]},
                    "validations": [
                        {"expression": "'team' in object.metadata.labels", "message": "name your team"}
                    ],
                },
            ),
            creates(
                "ValidatingAdmissionPolicyBinding",
                spec={"policyName": "{name}", "validationActions": ["Deny"]},
            ),
            awaits_admission(is_refused),
        ),
        reason="AdmissionDenied",
        says=("Pod digits-1-driver", "an-admission-policy-denies-the-pods", "name your team"),
        heals=deletes("ValidatingAdmissionPolicyBinding"),
    ),
    "an admission webhook is down": Situation(
        before=both(
            creates(
                "ValidatingWebhookConfiguration",
                webhooks=[
                    {
                        "name": "policy.example.org",
                        "clientConfig": {"url": "https://127.0.0.1:9/"},
                        "rules": [CREATED_PODS],
                        "namespaceSelector": HERE,
                        "admissionReviewVersions": ["v1"],
                        "sideEffects": "None",
                    }
                ],
            ),
            awaits_admission(is_refused),
        ),
        reason="AdmissionDenied",
        says=("policy.example.org", "connection refused", "does not respond"),
        heals=deletes("ValidatingWebhookConfiguration"),
    ),
    "Pod Security refuses a folder of the node": Situation(
        profile={
            "spec.cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/seedbed"}},
            **FOR_ALL,
        },
        before=both(labels_namespace(enforce="restricted"), awaits_admission(is_refused)),
        reason="AdmissionDenied",
        says=('violates PodSecurity "restricted:latest"', "hostPath", "profile"),
        heals=labels_namespace(enforce="privileged"),
    ),
    "the service account is not there": Situation(
        profile={"spec.serviceAccountName": "trainer", **FOR_ALL},
        reason="ServiceAccountNotFound",
        says=('serviceaccount "trainer" not found', "create it in the namespace"),
        heals=creates("ServiceAccount", "trainer"),
    ),
    "the priority class is not there": Situation(
        profile={"spec.priorityClassName": "{name}", **FOR_ALL},
        reason="PriorityClassNotFound",
        says=("the-priority-class-is-not-there", "create it"),
        heals=creates("PriorityClass", value=1000),
    ),
    "the runtime class is not there": Situation(
        profile={"spec.runtimeClassName": "{name}"},
        reason="AdmissionDenied",
        says=('RuntimeClass "the-runtime-class-is-not-there" not found', "runtimeClassName of the profile"),
        heals=creates("RuntimeClass", handler="plain"),
    ),
}
NAMES = {
    "a pod of somebody else has the driver's name": Situation(
        before=creates("Pod", f"{JOB}-1-driver", spec={"containers": [{"name": "x", "image": "x"}]}),
        reason="NameConflict",
        says=(f"Pod {JOB}-1-driver", "does not belong to this job", "delete it"),
        heals=deletes("Pod", f"{JOB}-1-driver"),
    ),
    "pods of a deleted job are still ending": Situation(
        before=leaves_a_pod_behind,
        reason="TerminatingOldPods",
        says=("pods of a deleted job of this name", f"{JOB}-1-driver"),
        heals=patches("Pod", f"{JOB}-1-driver", metadata={"finalizers": None}),
    ),
}
QUEUES = {
    "a queue holds the pods": Situation(
        before=both(
            creates(
                "MutatingAdmissionPolicy",
                spec={
                    "failurePolicy": "Fail",
                    "reinvocationPolicy": "Never",
                    "matchConstraints": {"namespaceSelector": HERE, "resourceRules": [CREATED_PODS]},
                    "mutations": [
                        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": GATE}}
                    ],
                },
            ),
            creates("MutatingAdmissionPolicyBinding", spec={"policyName": "{name}"}),
            awaits_admission(lambda pod: pod is not None and "schedulingGates" in pod["spec"]),
        ),
        reason="Queued",
        says=("queue", "scheduling gate", "admits"),
        heals=lets_pods_pass,
    ),
    "it is suspended": Situation(
        job={"spec.suspend": True},
        reason="Suspended",
        says=("spec.suspend", "set it to false"),
        heals=changes_job(suspend=False),
        condition="Neither",
    ),
    "the spec breaks a rule": Situation(
        job={OVER: {"labels": {"example.org/": "x"}}},
        reason="InvalidSpec",
        says=(f"{OVER}.labels", "must have keys like those of labels", "write for example"),
        condition="Stalled",
    ),
    "no driver answers in time": Situation(
        job={"spec.preRunningDeadlineSeconds": 12, "spec.backoffLimit": 50},
        reason="PreRunningDeadlineExceeded",
        says=(
            "PreRunningDeadlineExceeded",
            "spec.preRunningDeadlineSeconds 12",
            "the next attempt starts at",
        ),
    ),
    "half of the workers find a node": Situation(
        job={"spec.cluster.workers": {"min": 2, "max": 2}},
        profile=GPU,
        before=adds_nodes(resources=ONE_GPU),
        reason="Unschedulable",
        says=("worker pod", "Insufficient nvidia.com/gpu", "spec.cluster.workers.min"),
        heals=both(awaits_message("its pods are deleted"), adds_nodes("more", resources=ONE_GPU)),
    ),
}
SITUATIONS: dict[str, Situation] = {**PROFILES, **NODES, **REFUSALS, **NAMES, **QUEUES}
"""In which the longest to wait for comes last."""
