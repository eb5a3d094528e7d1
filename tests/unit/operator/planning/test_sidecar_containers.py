"""Containers that a mesh or a vault puts into our pods, as a real kubelet told of them (tests/e2e/pod_recordings.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seedbed_operator.informer_cache.object_views import pod_view
from seedbed_operator.job_observation import ContainerTerminated, PodView
from seedbed_operator.planning import plan
from support.operator.builders import a_training_job, an_outcome, live
from support.operator.simulated_cluster import World, a_world

RECORDED = Path(__file__).parents[1] / "informer_cache" / "recorded"
DRIVER, WORKER = "seedlings-1-driver", "seedlings-1-worker-0"
NOWHERE = "registry.invalid:5000/istio/proxyv2:1.99"


def told(name: str) -> PodView:
    """Return what the operator keeps of a recorded pod."""
    view = pod_view(json.loads((RECORDED / f"{name}.json").read_text()))
    assert view is not None
    return view


def become(world: World, pod: str, name: str) -> None:
    """Let a pod of ours be as a recorded one was."""
    seen, ours = told(name), world.pods[pod]
    facts = (
        "phase",
        "node",
        "ip",
        "ready",
        "started",
        "reason",
        "message",
        "waiting",
        "terminated",
        "injected_containers",
    )
    world.pods[pod] = replace(ours, scheduled=world.now, **{fact: getattr(seen, fact) for fact in facts})


def begun(name: str, pod: str = DRIVER) -> World:
    """Return a job one of whose pods is as a recorded one was, a while later."""
    world = a_world(a_training_job().with_workers(1, 1)).settle()
    become(world, pod, name)
    return world.settle().wait(6)


@pytest.mark.parametrize("pod", [DRIVER, WORKER])
@pytest.mark.parametrize(
    ("name", "reason", "parts"),
    [
        ("image", "ImagePullFailed", (NOWHERE.partition(":")[0], "does not respond")),
        (
            "init-image",
            "ImagePullFailed",
            (f"image {NOWHERE} of container istio-init", "does not respond", "service mesh"),
        ),
        (
            "init-hangs",
            "ContainerCreating",
            ("init container vault-agent-init", "runs", "-c vault-agent-init"),
        ),
        (
            "second-init-hangs",
            "ContainerCreating",
            ("init container vault-agent-init", "starts when it has ended"),
        ),
        ("init-config", "SecretNotFound", ("Secret vault does not exist",)),
        (
            "sidecar-crashes",
            "ContainerCreating",
            ("sidecar istio-proxy", "exit code 5 (Error)", "restarted"),
        ),
        ("sidecar-hangs", "ContainerCreating", ("sidecar istio-proxy", "startup probe")),
        ("beside-image", "ImagePullFailed", (f"image {NOWHERE} of container log-shipper",)),
    ],
)
def test_what_keeps_a_pod_from_starting_is_named_with_its_container(
    pod: str, name: str, reason: str, parts: tuple[str, ...]
) -> None:
    if name == "image":
        parts = parts[1:]
    world = begun(name, pod)
    assert world.says() == f"False {reason}"
    for part in parts:
        assert part in world.message()


def test_the_image_of_the_attempt_is_not_blamed_for_that_of_another_container() -> None:
    world = begun("init-image")
    assert world.job.status.environment is not None
    assert str(world.job.status.environment.image) not in world.message()


@pytest.mark.parametrize("name", ["plain", "init-done", "sidecar-runs", "beside-image", "beside-failed"])
def test_a_driver_that_runs_is_heard_whatever_stands_beside_it(name: str) -> None:
    world = begun(name)
    world.start(WORKER).say(DRIVER, live(3)).wait(10)
    assert world.says() == "True Training"


def test_a_proxy_that_has_failed_is_named_while_the_driver_does_not_answer() -> None:
    world = begun("beside-failed")
    world.start(WORKER).settle()
    assert world.says() == "False RayStarting"
    assert "container istio-proxy of pod seedlings-1-driver ended with exit code 3 (Error)" in world.message()


def test_an_init_container_that_fails_ends_the_attempt_with_its_name_its_code_and_the_end_of_its_log() -> (
    None
):
    world = a_world(a_training_job()).settle()
    world.logs[DRIVER] = "permission denied on secret/team"
    become(world, DRIVER, "init-failed")
    world.settle()
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.exit_code) == ("InitContainerFailed", 3)
    assert (
        "init container vault-agent-init of pod seedlings-1-driver ended with exit code 3" in failure.message
    )
    assert failure.log_tail == "permission denied on secret/team"
    assert (world.job.status.failures, world.job.status.infrastructure_failures) == (None, 1)


def test_a_worker_whose_init_container_fails_is_replaced_and_the_message_names_it() -> None:
    world = a_world(a_training_job()).settle().start(DRIVER)
    become(world, WORKER, "init-failed")
    world.settle()
    assert world.says() == "False WaitingForWorkers"
    assert (
        "init container vault-agent-init of pod seedlings-1-worker-0 ended with exit code 3"
        in world.message()
    )


def test_workers_whose_init_container_fails_again_and_again_end_the_attempt_with_its_code() -> None:
    world = a_world(a_training_job()).settle().start(DRIVER).settle()
    for index in range(4):
        become(world, f"seedlings-1-worker-{index}", "init-failed")
        world.settle().wait(90)
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.exit_code) == ("WorkersLost", 3)
    assert "exit code 3 of init container vault-agent-init" in failure.message


@pytest.mark.parametrize("pod", [DRIVER, WORKER])
@pytest.mark.parametrize(
    ("name", "named", "code"),
    [("init-hangs", "init container vault-agent-init", None), ("sidecar-crashes", "sidecar istio-proxy", 5)],
)
def test_what_holds_a_pod_up_until_the_deadline_is_named_with_its_code_and_the_end_of_its_log(
    name: str, named: str, code: int | None, pod: str
) -> None:
    world = a_world(a_training_job(preRunningDeadlineSeconds=60)).settle()
    world.start(WORKER if pod == DRIVER else DRIVER)
    world.logs[pod] = "waiting for vault"
    become(world, pod, name)
    world.settle().wait(70)
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.pod, failure.exit_code) == ("PreRunningDeadlineExceeded", pod, code)
    assert named in failure.message
    assert failure.log_tail == "waiting for vault"


def test_a_driver_that_fails_after_its_proxy_names_the_proxy() -> None:
    world = a_world(a_training_job()).settle().start()
    become(world, DRIVER, "beside-failed-with-the-driver")
    world.settle()
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.exit_code) == ("DriverCrashed", 1)
    assert failure.message.endswith(
        "container istio-proxy of pod seedlings-1-driver ended with exit code 3 (Error) before"
    )


@pytest.mark.parametrize(
    ("name", "container"),
    [("init-failed", "vault-agent-init"), ("beside-failed-with-the-driver", "driver")],
)
def test_in_a_pod_of_several_containers_a_log_is_asked_for_by_name(name: str, container: str) -> None:
    world = a_world(a_training_job()).settle().start()
    become(world, DRIVER, name)
    evidence_requests = plan(world.observe()).evidence_requests
    assert [(need.kind, need.pod, need.container) for need in evidence_requests] == [
        ("LogTail", DRIVER, container)
    ]


def test_a_sidecar_that_is_ended_after_the_driver_is_no_failure() -> None:
    world = a_world(a_training_job()).settle().start()
    become(world, DRIVER, "sidecar-after-the-driver")
    assert told("sidecar-after-the-driver").injected_containers[0].terminated is not None
    done = world.pods[DRIVER].terminated
    assert done is not None
    world.pods[DRIVER] = replace(world.pods[DRIVER], terminated=replace(done, message=an_outcome()))
    world.settle().finish_deletions().settle()
    assert world.says("Complete") == "True Trained"


def test_a_container_that_runs_on_after_the_driver_is_named_and_given_half_a_minute() -> None:
    world = a_world(a_training_job()).settle().start()
    become(world, DRIVER, "beside-after-the-driver")
    world.pods[DRIVER] = replace(
        world.pods[DRIVER], terminated=replace(_ended(world), message=an_outcome(), exit_code=0)
    )
    world.settle().vanish(WORKER).settle()
    assert world.says() == "False Trained"
    assert "waiting for container istio-proxy of pod seedlings-1-driver" in world.message()
    (delete,) = [
        each for made in world.history for each in made.actions if getattr(each, "name", "") == DRIVER
    ][-1:]
    assert getattr(delete, "grace_seconds", None) == 30
    world.finish_deletions().settle()
    assert world.says("Complete") == "True Trained"


def test_a_container_that_runs_on_is_named_while_the_next_attempt_waits_for_the_pod() -> None:
    world = a_world(a_training_job()).settle().start()
    become(world, DRIVER, "beside-after-the-driver")
    world.settle().vanish(WORKER).settle().wait(30)
    assert world.says() == "False TerminatingOldPods"
    assert "container istio-proxy of pod seedlings-1-driver, which still runs after ours" in world.message()


def _ended(world: World) -> ContainerTerminated:
    terminated = world.pods[DRIVER].terminated
    assert terminated is not None
    return terminated
