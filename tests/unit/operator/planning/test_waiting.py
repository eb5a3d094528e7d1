"""Why is my job not running? Each situation, from what the cluster says to one reason and what to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.job_observation import Notice, Refusal
from support.operator.builders import (
    ENVIRONMENT,
    IMAGE,
    a_pod,
    a_profile,
    a_training_job,
    ended,
    live,
)
from support.operator.simulated_cluster import World, a_world

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
        world.notices[DRIVER] = tuple(_notice(world, *event) for event in events)
        world.settle()

    return tell


def slowly(*events: tuple[str, str]) -> Callable[[World], Any]:
    def tell(world: World) -> None:
        world.settle().schedule()
        world.notices[DRIVER] = tuple(_notice(world, *event) for event in events)
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
    world.profile = replace(a_profile(), spec=None, invalid="spec.image: must be an image by digest")
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
        "as nodeSelector of the profile's driver wants",
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
        "PersistentVolumeClaim data is not there; create it",
    ),
    "a claim is unbound": (
        unplaced("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", DRIVER),
        "VolumeUnavailable",
        "check its storage class",
    ),
    "a queue holds the pods": (gated, "Queued", "when it admits the job"),
    "workers have no node yet": (worker_not_placed_yet, "WorkersPending", "1 worker pods wait for a node"),
    "there is no such image": (
        waiting("ErrImagePull", "manifest unknown"),
        "ImagePullFailed",
        f"image {IMAGE} cannot be pulled: there is no such image",
    ),
    "the registry wants credentials": (
        waiting("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: 401 Unauthorized'),
        "ImagePullFailed",
        "imagePullSecrets",
    ),
    "the registry does not answer": (
        waiting("ErrImagePull", "dial tcp: lookup registry.example: no such host"),
        "ImagePullFailed",
        "the registry does not answer",
    ),
    "the cause of a back-off is in an event": (
        waiting("ImagePullBackOff", "Back-off pulling image", ("Failed", "rpc error: x: not found")),
        "ImagePullFailed",
        "there is no such image",
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
        "Secret registry-key is not there",
    ),
    "the image's name is none": (
        waiting("InvalidImageName", "invalid reference"),
        "ImageInvalid",
        "correct it",
    ),
    "the token's Secret was deleted": (
        waiting("CreateContainerConfigError", 'secret "seedlings-0a1b2c3d-ray" not found'),
        "SecretNotFound",
        "Secret seedlings-0a1b2c3d-ray is not there",
    ),
    "the image runs as root": (
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        "ContainerConfigError",
        "runAsNonRoot",
    ),
    "a mounted Secret is missing": (
        slowly(("FailedMount", 'MountVolume.SetUp failed for volume "x" : secret "s3-read" not found')),
        "SecretNotFound",
        "Secret s3-read is not there",
    ),
    "a volume cannot be attached": (
        slowly(("FailedAttachVolume", "Multi-Attach error for volume pvc-1")),
        "VolumeUnavailable",
        "Multi-Attach error",
    ),
    "a node has no network": (
        slowly(("FailedCreatePodSandBox", "plugin type=bridge failed")),
        "ContainerCreating",
        "network or runtime is at fault",
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
    "the name is taken by a pod that names the job": (foreign_driver, "NameConflict", "it is left alone"),
    "the name is taken by any pod": (name_taken_without_labels, "NameConflict", "it is left alone"),
    "pods of a deleted job are still there": (older_objects_driver, "TerminatingOldPods", DRIVER),
    "there is no such profile": (without_profile, "ProfileNotFound", "there is no TrainingProfile default"),
    "the profile is not valid": (with_refused_profile, "ProfileInvalid", "must be an image by digest"),
    "the backend is not there": (with_kuberay, "BackendUnavailable", "KubeRay"),
    "Ray comes up": (running_unready, "RayStarting", "Ray is coming up"),
    "a driver that is ready is not heard": (running_without_a_word, "RayStarting", "let the NetworkPolicies"),
    "a worker has not joined": (one_worker_of_two, "WaitingForWorkers", "1 of at least 2 workers"),
    "a worker crashes at its start": (worker_crashed_at_start, "WaitingForWorkers", "exit code 1"),
}


@pytest.mark.parametrize(("happen", "reason", "told"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_a_job_that_does_not_run_says_why_and_what_to_change(
    happen: Callable[[World], Any], reason: str, told: str
) -> None:
    least = 2 if happen is one_worker_of_two else 1
    world = a_world(a_training_job().with_workers(least, 2))
    happen(world)
    assert world.says() == f"False {reason}"
    assert told in world.message()
    assert "\n" not in world.message()


def test_a_pool_that_is_full_is_not_told_to_change_its_labels_or_taints() -> None:
    world = a_world(a_training_job().with_workers(1, 2))
    unplaced(GPUS)(world)
    assert "add nodes to the pool" in world.message()
    assert "toleration" not in world.message()
    assert "preemption" not in world.message()


OTHER_IMAGE = IMAGE.replace("a" * 64, "b" * 64)


def suspended_and_resumed(world: World) -> World:
    world.edit(suspend=True).settle().finish_deletions().settle()
    assert world.says() == "False Suspended"
    return world.edit(suspend=False).settle()


def test_a_corrected_image_counts_from_the_next_attempt_while_none_has_computed() -> None:
    world = a_world()
    waiting("ErrImagePull", "not found")(world)
    world.profile = a_profile(image=OTHER_IMAGE)
    suspended_and_resumed(world)
    bodies = [world.bodies[f"seedlings-2-{role}"] for role in ("driver", "worker-0")]
    assert {body["spec"]["containers"][0]["image"] for body in bodies} == {OTHER_IMAGE}
    assert world.job.status.environment is not None
    assert world.job.status.environment.image == OTHER_IMAGE


def test_the_image_in_which_workers_have_computed_stays() -> None:
    world = a_world().settle().start().settle()
    world.say(DRIVER, live(3, environment_class=ENVIRONMENT)).wait(10)
    world.profile = a_profile(image=OTHER_IMAGE)
    suspended_and_resumed(world)
    assert world.bodies["seedlings-2-driver"]["spec"]["containers"][0]["image"] == IMAGE


def test_labels_that_no_node_has_are_named() -> None:
    worker = {"nodeSelector": {"pool": "gpu", "accelerator": "a100"}}
    world = a_world(a_training_job().with_workers(1, 2), profile=a_profile(worker=worker))
    unplaced("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")(world)
    assert "label nodes pool=gpu, accelerator=a100 as nodeSelector of the profile's worker" in world.message()


def test_there_are_many_situations() -> None:
    assert len({reason for _, reason, _ in SITUATIONS.values()}) >= 15


def test_a_refused_driver_is_no_attempt_and_is_tried_again_ever_more_slowly() -> None:
    world = a_world()
    forbidden(QUOTA)(world)
    assert world.job.status.attempts is None
    assert world.job.status.observed_generation == 1
    assert world.names() == []
    for pause in (5, 10, 20, 40):
        tried = len([made for made in world.history if made.actions])
        world.wait(pause - 1)
        assert len([made for made in world.history if made.actions]) == tried, "not before the pause is over"
        world.wait(1)
        assert len([made for made in world.history if made.actions]) == tried + 1
    world.refuses.clear()
    world.wait(100)
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.says() == "False Pending"


def test_workers_that_a_quota_refuses_do_not_leave_a_driver_waiting_for_ever() -> None:
    world = a_world()
    forbidden(QUOTA, WORKER)(world)
    assert world.job.status.attempts == 1
    assert world.names() == ["1-driver"]
    world.start().settle().wait(310)
    world.finish_deletions().settle()
    assert world.names() == []
    assert world.says() == "False QuotaExceeded"
    assert (world.job.status.failures or 0) == 0


def test_a_profile_that_appears_lets_the_job_begin() -> None:
    world = a_world(profile=None).settle()
    assert world.says("Reconciling") == "True ProfileNotFound"
    assert world.says("Stalled") == "-"
    world.profile = a_profile()
    world.settle()
    assert world.names() == ["1-driver", "1-worker-0"]


def test_pods_of_a_deleted_job_are_waited_for_and_never_touched() -> None:
    world = a_world()
    older_objects_driver(world)
    assert world.pods[DRIVER].uid == "old"
    world.vanish(DRIVER).settle()
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.pods[DRIVER].uid != "old"


def _notice(world: World, reason: str, message: str) -> Notice:
    return Notice(reason=reason, message=message, time=world.now)


def test_pods_that_only_bear_our_labels_hold_nobody_up() -> None:
    world = a_world()
    pod = a_pod("worker", name="web-7d9f-x2x", uid="web", attempt=1, job_uid="other", owner_uid="replicaset")
    world.pods[pod.name] = pod
    world.settle()
    assert "1-driver" in world.names()


def test_a_refused_deletion_is_tried_again_ever_more_slowly() -> None:
    world = a_world().settle().start().settle()
    world.edit(suspend=True)
    world.refusals = (
        Refusal(kind="Pod", name=DRIVER, code=403, reason="Forbidden", message="no", time=world.now, count=3),
    )
    world.settle()
    assert not world.pods[DRIVER].deleting
    assert world.wake_at == world.now + timedelta(seconds=20)
    world.wait(20)
    assert world.pods[DRIVER].deleting
