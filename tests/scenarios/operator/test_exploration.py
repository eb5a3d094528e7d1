"""Whatever chance does to the operator between any two writes, the job comes to its end and nothing is doubled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios.operator.exploration import Guard, Mutation, Step, Story
from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import ResourceKind

FREQUENT = ("pass", "pass", "pass", "deliver", "deliver", "start", "end", "vanish", "garbage", "time")
RARE = ("relist", "crash", "fault", "fault", "fault", "lose", "repeat", "overtake", "preempt", "delete_pod")
RARE += ("delete_job", "recreate_job", "suspend", "intrude", "replace", "defect", "edit", "press", "press")
STEPS = st.lists(st.tuples(st.sampled_from([*FREQUENT, *FREQUENT, *RARE]), st.integers(0, 200)), max_size=60)
THOROUGH = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def told(steps: Sequence[Step], mutation: Mutation = lambda guard: guard) -> Story:
    """Return the story of these steps, told to its end."""
    story = Story(mutation=mutation)

    async def tell() -> None:
        await story.begin()
        await story.take(steps)
        await story.grow_calm()
        story.check_end()

    asyncio.run(tell())
    return story


def test_undisturbed_a_job_takes_few_writes() -> None:
    story = told([])
    writes = [(call.verb, call.kind, call.name) for call in story.server.calls if call.kind != "Event"]
    of_the_namespace = [("create", "Secret", "seedbed-owner")]  # once, with its first job
    assert len([each for each in writes if each not in of_the_namespace]) <= 10, writes


@THOROUGH
@given(steps=STEPS)
def test_every_story_comes_to_an_end(steps: list[Step]) -> None:
    told(steps)


class WithoutUid(Guard):
    """Deletes whatever has the name now."""

    async def delete(
        self, kind: ResourceKind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> RawObject:
        there = self.server.find(kind, namespace, name)
        uid = there["metadata"]["uid"] if there else uid
        return await super().delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)


class WithoutVersion(Guard):
    """Writes a status onto whatever has the name now."""

    async def patch_status(
        self, kind: ResourceKind, namespace: str, name: str, *, resource_version: str, patch: RawObject
    ) -> RawObject:
        there = self.server.find(kind, namespace, name)
        version = there["metadata"]["resourceVersion"] if there else resource_version
        return await super().patch_status(kind, namespace, name, resource_version=version, patch=patch)


class Applying(Guard):
    """Applies instead of creating: what is there is taken over."""

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        if (there := self.server.find(kind, namespace, body["metadata"]["name"])) is None:
            return await super().create(kind, namespace, body)
        metadata = {**there["metadata"], "labels": body["metadata"]["labels"]}
        return self.server._store(kind, {**there, "metadata": metadata}, "MODIFIED")


@pytest.mark.parametrize(
    ("mutant", "broken"),
    [
        (WithoutUid, "is another's, and was deleted"),
        (WithoutVersion, "a status on the wrong object"),
        (Applying, "another's was touched"),
    ],
)
def test_an_operator_that_trusts_names_is_caught(mutant: type[Guard], broken: str) -> None:
    assert broken in _caught(lambda guard: mutant(guard.server))


def _caught(mutation: Mutation) -> str:
    """Return the promise that one of some stories breaks; nothing where none does."""
    chance = random.Random(1)
    for _ in range(400):
        steps = [(chance.choice([*FREQUENT, *RARE]), chance.randrange(200)) for _ in range(60)]
        try:
            told(steps, mutation)
        except AssertionError as broken:
            return str(broken)
    return ""
