"""Why a job is not running, where it takes a kubelet, a container or a driver to find out."""

from __future__ import annotations

from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT
from support.eventually import eventually
from support.situations.cluster_setup import (
    JOB,
    PATIENCE_SECONDS,
    Action,
    Ground,
    both,
    changes_profile,
    collection,
    creates,
    nothing,
    suspends_and_resumes,
)
from support.situations.control_plane_cases import HERE, Situation
from testbed.control_plane import MACHINE_ADDRESS
from testbed.kube import Json

CREATED_POLICIES = {
    "apiGroups": ["networking.k8s.io"],
    "apiVersions": ["v1"],
    "operations": ["CREATE"],
    "resources": ["networkpolicies"],
}
CLOSE = '[JSONPatch{op: "remove", path: "/spec/ingress/1"}]'
"""Leaves the rule between the pods of the job, and takes away that of the operator."""
NO_IMAGE = "seedbed@sha256:" + "0" * 64
NOWHERE = f"http://{MACHINE_ADDRESS}:9"
"""An address of the testbed at which nothing listens."""
LOST_NODE = "node2"
DRIVER_SECONDS = 600.0
"""How long a driver may take to run: a busy machine reads its image first."""


def gives_keys(**wrong: str) -> Action:
    """Create the Secrets of the stores, some keys of which may be wrong."""

    def act(ground: Ground) -> None:
        for name in ("s3-read", "s3-write"):
            ground.create("Secret", name, stringData={**ground.secrets, **wrong})

    return act


def awaits_driver(ground: Ground) -> Json:
    """Wait until the container of the first driver runs."""
    driver = ground.path("Pod", f"{JOB}-1-driver")
    return ground.kube.wait_for(
        driver, lambda pod: pod["status"]["phase"] == "Running", seconds=DRIVER_SECONDS
    )


def awaits_closed_policies(ground: Ground) -> None:
    """Wait until the API server takes the operator out of NetworkPolicies: policies add up, so none can forbid it."""
    rules = [{"from": [{"podSelector": {}}]}, {"ports": [{"protocol": "TCP", "port": PROGRESS_PORT}]}]
    body = {"metadata": {"name": "tried"}, "spec": {"podSelector": {}, "ingress": rules}}
    path = collection("NetworkPolicy", ground.namespace)
    eventually(
        lambda: ground.kube.create(path, body, dryRun="All")["spec"]["ingress"],
        lambda left: len(left) == 1,
        what="an effect on policies",
        seconds=PATIENCE_SECONDS,
    )


def corrects_image(ground: Ground) -> None:
    """Let the profile name an image that there is; it counts from the next attempt."""
    changes_profile(image=ground.profile_base["spec.image"])(ground)
    suspends_and_resumes(ground)


SITUATIONS: dict[str, Situation] = {
    "the image is not on the node": Situation(
        profile={"spec.image": f"localhost/{NO_IMAGE}", "spec.imagePullPolicy": "Never"},
        before=gives_keys(),
        reason="ImagePullFailed",
        says=(f"localhost/{NO_IMAGE}", "is not on the node", "imagePullPolicy of the profile is Never"),
        heals=corrects_image,
    ),
    "no registry answers": Situation(
        profile={"spec.image": f"registry.invalid:5000/{NO_IMAGE}", "spec.imagePullPolicy": "IfNotPresent"},
        before=gives_keys(),
        reason="ImagePullFailed",
        says=("registry.invalid:5000", "cannot be pulled", "the registry does not respond"),
    ),
    "the Secret is not there": Situation(
        reason="SecretNotFound",
        says=("Secret s3-", "does not exist", "create it in the namespace of the job"),
        heals=gives_keys(),
    ),
    "the dataset is not there": Situation(
        job={"spec.dataset.uri": "s3://datasets/none"},
        before=gives_keys(),
        reason="InvalidDataset",
        says=("spec.dataset.uri", "s3://datasets/none", "there is no dataset here", "seedbed dataset build"),
        condition="Stalled",
    ),
    "the store refuses the keys": Situation(
        before=gives_keys(AWS_SECRET_ACCESS_KEY="wrong"),
        reason="StorageDenied",
        says=("spec.", "s3://", "access denied", "check "),
        condition="Stalled",
    ),
    "the store does not answer": Situation(
        profile={"spec.storage": {"endpointURL": NOWHERE, "region": "us-east-1"}},
        before=gives_keys(),
        reason="BackingOff",
        says=("attempt 1 ended: StorageUnavailable", "the next attempt starts at"),
        heals=lambda ground: changes_profile(storage=ground.profile_base["spec.storage"])(ground),
    ),
    "the driver needs more memory": Situation(
        profile={"spec.driver.resources": {"cpu": "100m", "memory": "64Mi"}},
        before=gives_keys(),
        reason="BackingOff",
        says=("attempt 1 ended: OutOfMemory", f"pod {JOB}-1-driver", "raise memory of the profile's driver"),
        heals=changes_profile(driver={"resources": {"memory": "2Gi"}}),
    ),
    "a NetworkPolicy hides the driver": Situation(
        before=both(
            gives_keys(),
            creates(
                "MutatingAdmissionPolicy",
                spec={
                    "failurePolicy": "Fail",
                    "reinvocationPolicy": "Never",
                    "matchConstraints": {"namespaceSelector": HERE, "resourceRules": [CREATED_POLICIES]},
                    "matchConditions": [
                        {"name": "several-rules", "expression": "size(object.spec.ingress) > 1"}
                    ],
                    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": CLOSE}}],
                },
            ),
            creates("MutatingAdmissionPolicyBinding", spec={"policyName": "{name}"}),
            awaits_closed_policies,
        ),
        reason="RayStarting",
        says=(
            f"driver pod {JOB}-1-driver is ready",
            "does not respond on port 8701",
            "NetworkPolicies",
        ),
        heals=creates(
            "NetworkPolicy",
            "open",
            spec={"podSelector": {}, "ingress": [{"ports": [{"protocol": "TCP", "port": PROGRESS_PORT}]}]},
        ),
        announced=False,
    ),
    "the node of the driver is lost": Situation(
        profile={"spec.driver.nodeSelector": {"kubernetes.io/hostname": LOST_NODE}},
        before=gives_keys(),
        happens=awaits_driver,
        reason="NodeLost",
        says=(
            "attempt 1 ended: NodeLost",
            f"node {LOST_NODE}",
            "does not respond",
            "the next attempt starts at",
        ),
        heals=nothing,
    ),
}
