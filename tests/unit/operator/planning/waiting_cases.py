"""Pods that wait, and the reason that the job gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.job_observation import PodEvent
from support.operator.builders import (
    IMAGE,
    a_pod,
    a_profile,
    ended,
    live,
)
from support.operator.simulated_cluster import World

DRIVER, WORKER = "seedlings-1-driver", "seedlings-1-worker-0"

QUOTA = (
    'pods "seedlings-1-driver" is forbidden: exceeded quota: team, requested: requests.cpu=1, '
    "used: requests.cpu=8, limited: requests.cpu=8"
)

POD_SECURITY = (
    'pods "seedlings-1-driver" is forbidden: violates PodSecurity "restricted:latest": '
    'restricted volume types (volume "cache" uses restricted volume type "hostPath")'
)

SERVICE_ACCOUNT = (
    'pods "seedlings-1-driver" is forbidden: error looking up service account team/trainer: '
    'serviceaccount "trainer" not found'
)

GPUS = (
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient nvidia.com/gpu. "
    "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)


def forbidden(message: str, name: str = DRIVER) -> Callable[[World], Any]:
    def tell(world: World) -> None:
        world.refuses[name] = (403, "Forbidden", message)
        world.settle()

    return tell


def waiting(reason: str, message: str = "", *events: tuple[str, str]) -> Callable[[World], Any]:
    def tell(world: World) -> None:
        world.settle().start(WORKER).cannot_start(DRIVER, reason, message)
        world.pod_events[DRIVER] = tuple(_notice(world, *event) for event in events)
        world.settle()

    return tell


def slowly(*events: tuple[str, str]) -> Callable[[World], Any]:
    def tell(world: World) -> None:
        world.settle().schedule()
        world.pod_events[DRIVER] = tuple(_notice(world, *event) for event in events)
        world.settle().wait(6)

    return tell


def unplaced(message: str, name: str = WORKER) -> Callable[[World], Any]:
    def tell(world: World) -> None:
        world.settle()
        world.start(DRIVER) if name == WORKER else None
        world.unschedulable(name, message).settle()

    return tell


def gated(world: World) -> None:
    world.settle()
    for name in list(world.pods):
        world.pods[name] = replace(world.pods[name], gated=True)
    world.settle()


def running_without_a_word(world: World) -> None:
    world.settle().start().settle().wait(60)


def running_unready(world: World) -> None:
    world.settle().start()
    world.pods[DRIVER] = replace(world.pods[DRIVER], ready=False)
    world.settle()


def one_worker_of_two(world: World) -> None:
    world.settle().start().settle()
    word = live(None, "Starting", workers=WorkerCounts(ready=1, desired=2))
    world.say(DRIVER, word).wait(10)


def worker_crashed_at_start(world: World) -> None:
    world.settle().start().settle()
    world.pods[WORKER] = ended(world.pods[WORKER], 1, at=world.now)
    world.settle()


def worker_not_placed_yet(world: World) -> None:
    world.settle().start(DRIVER).settle()


def foreign_driver(world: World) -> None:
    pod = a_pod("driver", name=DRIVER, uid="foreign", attempt=1, job_uid="", owner_uid=None)
    world.pods[DRIVER] = pod
    world.settle()


def name_taken_without_labels(world: World) -> None:
    world.refuses[DRIVER] = (409, "AlreadyExists", f'pods "{DRIVER}" already exists')
    world.settle()


def older_objects_driver(world: World) -> None:
    pod = a_pod("driver", name=DRIVER, uid="old", attempt=1, job_uid="old", owner_uid="old", deleting=True)
    world.pods[DRIVER] = pod
    world.settle()


def without_profile(world: World) -> None:
    world.profile = None
    world.settle()


def with_refused_profile(world: World) -> None:
    world.profile = replace(a_profile(), spec=None, spec_error="spec.image: must be an image by digest")
    world.settle()


def with_kuberay(world: World) -> None:
    world.profile = a_profile(backend="KubeRay")
    world.settle()


SITUATIONS: dict[str, tuple[Callable[[World], Any], str, str]] = {
    "GPUs are taken": (unplaced(GPUS), "Unschedulable", "add nodes to the pool"),
    "taints are not borne": (
        unplaced("0/2 nodes are available: 2 node(s) had untolerated taint(s)."),
        "Unschedulable",
        "add a toleration to the profile's worker",
    ),
    "no node has the labels": (
        unplaced("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.", DRIVER),
        "Unschedulable",
        "to match nodeSelector of the profile's driver",
    ),
    "nodes are cordoned": (
        unplaced("0/2 nodes are available: 2 node(s) were unschedulable."),
        "Unschedulable",
        "uncordon nodes",
    ),
    "there are no nodes": (
        unplaced("no nodes available to schedule pods"),
        "Unschedulable",
        "add nodes to the cluster",
    ),
    "a claim is missing": (
        unplaced('0/1 nodes are available: persistentvolumeclaim "data" not found.', DRIVER),
        "ClaimNotFound",
        "PersistentVolumeClaim data does not exist; create it",
    ),
    "a claim is unbound": (
        unplaced("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", DRIVER),
        "VolumeUnavailable",
        "check its storage class",
    ),
    "a queue holds the pods": (gated, "Queued", "when it admits the job"),
    "workers have no node yet": (worker_not_placed_yet, "WorkersPending", "1 worker pods wait for a node"),
    "the image does not exist": (
        waiting("ErrImagePull", "manifest unknown"),
        "ImagePullFailed",
        f"image {IMAGE} cannot be pulled: the image does not exist",
    ),
    "the registry wants credentials": (
        waiting("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: 401 Unauthorized'),
        "ImagePullFailed",
        "imagePullSecrets",
    ),
    "the registry does not respond": (
        waiting("ErrImagePull", "dial tcp: lookup registry.example: no such host"),
        "ImagePullFailed",
        "the registry does not respond",
    ),
    "the cause of a back-off is in an event": (
        waiting("ImagePullBackOff", "Back-off pulling image", ("Failed", "rpc error: x: not found")),
        "ImagePullFailed",
        "the image does not exist",
    ),
    "the image is never pulled": (
        waiting("ErrImageNeverPull", "not present with pull policy of Never"),
        "ImagePullFailed",
        "imagePullPolicy",
    ),
    "a pull secret is missing": (
        waiting(
            "ImagePullBackOff",
            "",
            ("FailedToRetrieveImagePullSecret", "Unable to retrieve some image pull secrets (registry-key);"),
        ),
        "SecretNotFound",
        "Secret registry-key does not exist",
    ),
    "the image's name is none": (
        waiting("InvalidImageName", "invalid reference"),
        "ImageInvalid",
        "correct it",
    ),
    "the token's Secret was deleted": (
        waiting("CreateContainerConfigError", 'secret "seedlings-0a1b2c3d-ray" not found'),
        "SecretNotFound",
        "Secret seedlings-0a1b2c3d-ray with the job's Ray token does not exist",
    ),
    "the image runs as root": (
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        "ContainerConfigError",
        "runAsNonRoot",
    ),
    "a mounted Secret is missing": (
        slowly(("FailedMount", 'MountVolume.SetUp failed for volume "x" : secret "s3-read" not found')),
        "SecretNotFound",
        "Secret s3-read does not exist",
    ),
    "the key of the namespace was deleted": (
        slowly(("FailedMount", 'MountVolume.SetUp failed for volume "x" : secret "seedbed-owner" not found')),
        "SecretNotFound",
        "Secret seedbed-owner of the namespace was deleted; it is created again with a new key",
    ),
    "a volume cannot be attached": (
        slowly(("FailedAttachVolume", "Multi-Attach error for volume pvc-1")),
        "VolumeUnavailable",
        "Multi-Attach error",
    ),
    "a node has no network": (
        slowly(("FailedCreatePodSandBox", "plugin type=bridge failed")),
        "ContainerCreating",
        "network plugin and container runtime",
    ),
    "an image is large": (slowly(("Pulling", "Pulling image")), "ContainerCreating", "its image is pulled"),
    "the quota is exceeded": (forbidden(QUOTA), "QuotaExceeded", "raise the ResourceQuota"),
    "the quota stops the workers": (forbidden(QUOTA, WORKER), "QuotaExceeded", "raise the ResourceQuota"),
    "Pod Security refuses a hostPath": (
        forbidden(POD_SECURITY),
        "AdmissionDenied",
        "choose another cache.type",
    ),
    "the service account is missing": (forbidden(SERVICE_ACCOUNT), "ServiceAccountNotFound", "create it"),
    "the priority class is missing": (
        forbidden('pods "x" is forbidden: no PriorityClass with name gold was found'),
        "PriorityClassNotFound",
        "create it",
    ),
    "a webhook denies": (
        forbidden('admission webhook "policy.example.org" denied the request: no'),
        "AdmissionDenied",
        "policy.example.org",
    ),
    "the namespace goes": (
        forbidden("unable to create new content in namespace team because it is being terminated"),
        "AdmissionDenied",
        "create the job in another one",
    ),
    "a limit range is in the way": (
        forbidden("pods is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi"),
        "AdmissionDenied",
        "LimitRange",
    ),
    "the operator lacks a permission": (
        forbidden('pods is forbidden: User "x" cannot create resource "pods" in API group ""'),
        "AdmissionDenied",
        "RBAC rules of its chart",
    ),
    "the name is taken by a pod that names the job": (
        foreign_driver,
        "NameConflict",
        "the operator does not touch it",
    ),
    "the name is taken by any pod": (
        name_taken_without_labels,
        "NameConflict",
        "the operator does not touch it",
    ),
    "pods of a deleted job are still there": (older_objects_driver, "TerminatingOldPods", DRIVER),
    "there is no such profile": (
        without_profile,
        "ProfileNotFound",
        "TrainingProfile default does not exist",
    ),
    "the profile is not valid": (with_refused_profile, "ProfileInvalid", "must be an image by digest"),
    "the backend is not there": (with_kuberay, "BackendUnavailable", "KubeRay"),
    "Ray comes up": (running_unready, "RayStarting", "Ray starts"),
    "a driver that is ready is not heard": (running_without_a_word, "RayStarting", "in the NetworkPolicies"),
    "a worker has not joined": (one_worker_of_two, "WaitingForWorkers", "1 of at least 2 workers"),
    "a worker crashes at its start": (worker_crashed_at_start, "WaitingForWorkers", "exit code 1"),
}


def _notice(world: World, reason: str, message: str) -> PodEvent:
    return PodEvent(reason=reason, message=message, time=world.now)
