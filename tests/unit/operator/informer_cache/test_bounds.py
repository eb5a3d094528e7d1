"""What is kept of an object has a bound, whatever a stranger writes into it, and a job over it is told which."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from seedbed_api.conditions import ConditionType, RunningReason
from seedbed_api.pod_contract.labels import VERIFY_ANNOTATION
from seedbed_operator.informer_cache.bounded_fields import LONGEST_NAME
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.job_metadata import MOST_BYTES, CopiedKeys
from seedbed_operator.informer_cache.object_views import MOST_SPEC_BYTES, job_record, job_view, pod_view
from seedbed_operator.kube_client.resource_kinds import JOBS, PROFILES, JobKey
from seedbed_operator.parse_cache import ParseCache
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer
from support.operator.operator_instance import Incarnation

LARGE = {"another.dev/notes": "x" * 250_000}
ALLOWED = {"copied.dev/team": "vision", "kueue": "fast"}


def a_job(
    annotations: dict[str, str], *, labels: dict[str, str] | None = None, version: int = 5
) -> dict[str, Any]:
    metadata = {
        "name": "digits",
        "namespace": "team",
        "uid": "uid-digits",
        "resourceVersion": str(version),
        "creationTimestamp": "2030-01-02T12:00:00Z",
        "annotations": annotations,
        "labels": labels or {},
        "managedFields": [{"manager": "x" * 10_000}],
    }
    return {"metadata": metadata, "spec": a_recipe()}


def a_profile(*annotations: str, version: int = 1) -> dict[str, Any]:
    metadata = {"name": "default", "uid": "uid-profile", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"image": IMAGE, "allowedAnnotations": list(annotations)}}


def test_small_metadata_is_kept_whole_whatever_a_profile_copies() -> None:
    record = job_record(a_job(ALLOWED))
    assert job_view(record).annotations == ALLOWED
    assert record.copied is None


def test_of_large_metadata_only_what_the_profile_copies_is_kept() -> None:
    record = job_record(a_job(LARGE | ALLOWED), copied=CopiedKeys(annotations=("copied.dev/",)))
    assert job_view(record).annotations == {"copied.dev/team": "vision"}
    assert job_view(record).metadata_problem is None
    assert len(record.content) < 4096


@pytest.mark.parametrize("value", ["now", "x" * 100_000])
def test_a_verification_can_be_asked_for_beside_large_metadata(value: str) -> None:
    record = job_record(a_job(LARGE | {VERIFY_ANNOTATION: value}))
    assert job_view(record).annotations == {VERIFY_ANNOTATION: value[:LONGEST_NAME]}
    assert job_view(record).metadata_problem is None


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_more_than_may_be_copied_is_named_with_its_size_and_the_limit(field: str) -> None:
    many = {f"copied.dev/{number}": "x" * 60 for number in range(1_000)}
    raw = a_job({}) | {}
    raw["metadata"][field] = many
    view = job_view(job_record(raw, copied=CopiedKeys(("copied.dev/",), ("copied.dev/",))))
    assert view.metadata_problem is not None
    for word in (f"metadata.{field}", str(MOST_BYTES), "copied.dev/", "shorten or remove"):
        assert word in view.metadata_problem
    assert getattr(view, field) == {}


def test_a_spec_over_its_bound_is_refused_by_size_and_not_kept() -> None:
    raw = a_job({})
    raw["spec"]["training"]["unheardOf"] = "x" * (MOST_SPEC_BYTES + 1)
    record = job_record(raw)
    view = job_view(record)
    assert view.spec is None
    assert view.spec_error is not None
    assert str(MOST_SPEC_BYTES) in view.spec_error
    assert len(record.content) < 4096


def test_a_profile_that_copies_more_makes_the_job_be_read_again() -> None:
    cache, key = InformerCache(), JobKey("team", "digits")
    cache.put(JOBS, a_job(LARGE | ALLOWED))
    assert not cache.lacks_metadata(key)
    cache.put(PROFILES, a_profile("copied.dev/team"))
    assert cache.lacks_metadata(key)
    assert cache.put(JOBS, a_job(LARGE | ALLOWED)) == frozenset(), "the version is known"
    assert cache.put(JOBS, a_job(LARGE | ALLOWED), again=True) == {key}
    assert not cache.lacks_metadata(key)
    record = cache.job(key)
    assert record is not None
    assert job_view(record).annotations == {"copied.dev/team": "vision"}


def _operated(annotations: dict[str, str], *copied: str) -> Incarnation:
    """Return an operator that saw the job before its profile, and has made passes since."""

    async def story() -> Incarnation:
        server = ApiServer()
        operator = Incarnation(server)
        server.apply(JOBS, a_job(annotations))
        await operator.relist()
        server.apply(PROFILES, a_profile(*copied))
        await operator.relist()
        for _ in range(3):
            await operator.reconciler.reconcile(JobKey("team", "digits"))
        return operator

    return asyncio.run(story())


def test_pods_get_what_a_later_profile_copies_of_large_metadata() -> None:
    operator = _operated(LARGE | ALLOWED, "copied.dev/")
    record = operator.cache.job(JobKey("team", "digits"))
    assert record is not None
    assert job_view(record).annotations == {"copied.dev/team": "vision"}
    assert operator.cache.pods(JobKey("team", "digits"))


def test_a_job_whose_content_is_compressed_gets_its_pods() -> None:
    operator = _operated({"another.dev/notes": "notes " * 1_000})
    record = operator.cache.job(JobKey("team", "digits"))
    assert record is not None
    assert not record.content.startswith(b"{")
    assert operator.cache.pods(JobKey("team", "digits"))


def test_a_job_with_too_much_to_copy_waits_and_says_why() -> None:
    operator = _operated(LARGE, "another.dev/notes")
    record = operator.cache.job(JobKey("team", "digits"))
    assert record is not None
    running = job_view(record).status.condition(ConditionType.RUNNING)
    assert running is not None
    assert running.reason == RunningReason.METADATA_TOO_LARGE
    assert "another.dev/notes" in running.message
    assert not operator.cache.pods(JobKey("team", "digits"))


def test_strings_of_pods_are_cut() -> None:
    labels = {"seedbed.dev/job": "digits", "seedbed.dev/role": "worker", "seedbed.dev/attempt": "1"}
    metadata = {"name": "p", "namespace": "team", "uid": "u", "resourceVersion": "1", "labels": labels}
    waiting = {"waiting": {"reason": "r" * 10**6, "message": "m" * 10**6}}
    others = [{"name": f"c{number}", "image": "i" * 10**5, "state": waiting} for number in range(1_000)]
    status = {"message": "m" * 10**6, "containerStatuses": others, "reason": "r" * 10**6}
    view = pod_view({"metadata": metadata, "status": status})
    assert view is not None
    assert len(repr(view)) < 250_000


def test_parsed_values_are_bounded_by_the_size_of_what_they_were_parsed_from() -> None:
    parsed = list[int]()
    cache = ParseCache[int, int](1_000)

    def ask(key: int, size: int) -> int:
        return cache.get(key, size, lambda: parsed.append(key) or key)  # type: ignore[func-returns-value]

    assert [ask(1, 100), ask(1, 100)] == [1, 1]
    assert parsed == [1]
    assert [ask(2, 900), ask(2, 900)] == [2, 2]
    assert parsed == [1, 2, 2], "one large value is not kept"
    for key in range(3, 13):
        ask(key, 200)
    ask(1, 100)
    assert parsed[-1] == 1, "it was forgotten"


COUNT = """
import json, sys
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.list_decoder import decode_list
from seedbed_operator.kube_client.resource_kinds import JOBS
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) // 1024
page, cache = sys.stdin.buffer.read(), InformerCache()
cache.put(JOBS, next(decode_list(page).items))
before = peak()
for number in range(150):
    for raw in decode_list(page).items:
        raw["metadata"] |= {"name": f"{raw['metadata']['name']}-{number}", "uid": f"{number}-{raw['metadata']['uid']}"}
        cache.put(JOBS, raw)
print(peak() - before, cache.counts()["trainingjobs"])
"""


@pytest.mark.slow
def test_300_jobs_of_250_kb_take_little_in_a_process_of_their_own() -> None:
    """As a list of the API server brings them; kept whole they take 75 MB."""
    items = [a_job({f"note-{key}": "x" * 60 for key in range(3_500)}) for _ in range(2)]
    for number, item in enumerate(items):
        item["metadata"] |= {"name": f"digits-{number}", "uid": f"uid-{number}"}
    page = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "items": items,
        "kind": "L",
        "metadata": {"resourceVersion": "7"},
    }
    done = subprocess.run(
        [sys.executable, "-c", COUNT], input=json.dumps(page).encode(), capture_output=True, check=True
    )
    grown, jobs = map(int, done.stdout.split())
    assert jobs == 301
    assert grown < 25, "MiB"
