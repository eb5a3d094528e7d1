"""A profile's namespaces and limits, from the start of a job to the attempts after it."""

from __future__ import annotations

from typing import Any

from seedbed_api.trainingjob_status import Environment
from support.operator.builders import IMAGE, a_driver, a_profile, a_training_job
from support.operator.simulated_cluster import World, a_world

HOST_PATH = {"cache": {"type": "HostPath", "hostPath": {"path": "/var/cache/seedbed"}}}
VISION = {"allowedNamespaces": {"selector": {"matchLabels": {"team": "vision"}}}}


def a_job(profile: dict[str, Any], **fields: Any) -> World:
    return a_world(a_training_job().with_workers(1, 2), profile=a_profile(**profile), **fields)


def test_a_folder_of_the_node_serves_nobody_until_namespaces_are_named() -> None:
    world = a_job(HOST_PATH).settle()
    assert world.says() == "False NamespaceNotAllowed"
    assert world.says("Stalled") == "True NamespaceNotAllowed"
    assert "it grants cache.hostPath and has no allowedNamespaces" in world.message()
    assert world.names() == []
    world.profile = a_profile(generation=2, **HOST_PATH, allowedNamespaces={"names": [world.job.namespace]})
    world.settle()
    assert world.says("Stalled").startswith("False")
    assert world.names() == ["1-driver", "1-worker-0"]


def test_labels_of_the_namespace_decide_when_an_attempt_starts() -> None:
    world = a_job(VISION, namespace_labels={"team": "speech"}).settle()
    assert world.says() == "False NamespaceNotAllowed"
    world.namespace_labels = {"team": "vision"}
    world.wait(61)
    assert world.names() == ["1-driver", "1-worker-0"]


def test_labels_that_the_operator_may_not_read_allow_nothing_and_say_so() -> None:
    world = a_job(VISION, namespace_labels=None).settle()
    assert world.says() == "False NamespaceNotAllowed"
    assert "the operator cannot read the namespace's labels" in world.message()
    assert world.names() == []


def test_a_running_attempt_goes_on_without_the_label_and_the_next_does_not_start() -> None:
    world = a_job(VISION, namespace_labels={"team": "vision"}).settle().start().settle()
    world.namespace_labels = {}
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-0"], "a lost worker is replaced"
    world.vanish("seedlings-1-driver", "seedlings-1-worker-0").settle().wait(60)
    assert world.says() == "False NamespaceNotAllowed"
    assert world.names() == []


def test_names_that_were_removed_count_for_the_next_attempt() -> None:
    world = a_job({"allowedNamespaces": {"names": ["default", "team-a"]}})
    here = world.job.namespace
    world.profile = a_profile(allowedNamespaces={"names": [here]})
    world.settle().start().settle()
    world.profile = a_profile(generation=2, allowedNamespaces={"names": ["elsewhere"]})
    world.settle()
    assert world.names() == ["1-driver", "1-worker-0"]
    world.vanish("seedlings-1-driver", "seedlings-1-worker-0").settle().wait(60)
    assert world.says() == "False NamespaceNotAllowed"


def test_a_job_that_is_too_large_is_refused_and_starts_when_it_is_smaller() -> None:
    world = a_job({"maxPerJob": {"workers": 1}}).settle()
    assert world.says() == "False ProfileLimitExceeded"
    assert world.message().startswith("spec.cluster.workers.max: makes 2 workers, and maxPerJob.workers")
    assert world.names() == []
    assert world.job.spec is not None
    workers = world.job.spec.cluster.workers.model_copy(update={"max": 1})
    world.edit(cluster=world.job.spec.cluster.model_copy(update={"workers": workers})).settle()
    assert world.names() == ["1-driver", "1-worker-0"]


def test_more_workers_than_the_limit_are_for_the_next_attempt_to_refuse() -> None:
    """A running attempt keeps the number that it was given, so it may replace what it loses."""
    world = a_job({"maxPerJob": {"workers": 2}}).settle().start().settle()
    assert world.job.spec is not None
    workers = world.job.spec.cluster.workers.model_copy(update={"max": 8})
    world.edit(cluster=world.job.spec.cluster.model_copy(update={"workers": workers})).settle()
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-0"]
    world.vanish("seedlings-1-driver", "seedlings-1-worker-0").settle().wait(60)
    assert world.says() == "False ProfileLimitExceeded"


def test_a_lower_limit_ends_the_growth_of_a_running_attempt() -> None:
    world = a_job({"maxPerJob": {"workers": 2}}).settle().start().settle()
    world.profile = a_profile(generation=2, maxPerJob={"workers": 1})
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver"]


def forged_driver(world: World) -> None:
    """Add a driver that a user made, with labels, name and owner of the real one."""
    driver = a_driver(1, uid="forged", owner_uid=world.job.uid, phase="Running", ready=True)
    world.pods[driver.name] = driver
    world.bodies[driver.name] = {}


def test_a_driver_that_a_user_made_gets_no_workers_with_what_the_profile_grants() -> None:
    """A namespace that may not use the profile would get a folder of the node by pods of the operator."""
    world = a_job(HOST_PATH)
    forged_driver(world)
    world.settle()
    assert world.says() == "False NamespaceNotAllowed"
    assert world.pods["seedlings-1-driver"].deleting
    world.finish_deletions().settle()
    assert world.names() == []
    assert world.job.status.attempts in (None, 0)


def test_labels_are_read_for_a_driver_that_a_user_made() -> None:
    world = a_job(VISION, namespace_labels={"team": "speech"})
    forged_driver(world)
    world.settle().finish_deletions().settle()
    assert world.names() == []
    assert world.says() == "False NamespaceNotAllowed"


def test_an_attempt_that_a_crash_kept_out_of_the_status_goes_on_in_an_allowed_namespace() -> None:
    world = a_job(VISION, namespace_labels={"team": "vision"})
    forged_driver(world)
    world.settle()
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.job.status.attempts == 1


def test_an_image_that_somebody_wrote_into_the_status_is_not_used() -> None:
    evil = "evil.example/miner@sha256:" + "1" * 64
    for image, used in ((evil, IMAGE), (IMAGE.replace("a" * 64, "b" * 64), None)):
        environment = Environment.model_validate({"class": "sha256:" + "c" * 64, "image": image})
        world = a_world(a_training_job().with_status(environment=environment, identity="sha256:" + "c" * 64))
        world.settle()
        (box,) = world.bodies["seedlings-1-driver"]["spec"]["containers"]
        assert box["image"] == (used or image), "another digest of the repository may be an earlier pin"


def test_a_driver_that_a_user_made_while_there_is_no_profile_counts_when_there_is_one() -> None:
    world = a_job({})
    world.profile = None
    forged_driver(world)
    world.settle()
    assert world.says() == "False ProfileNotFound"
    assert world.job.status.attempts in (None, 0), "not recorded: its namespace is checked later"
    world.profile = a_profile(**HOST_PATH)
    world.settle().finish_deletions().settle()
    assert world.names() == []
    assert world.says() == "False NamespaceNotAllowed"
