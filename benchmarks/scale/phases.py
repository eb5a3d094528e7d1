"""The measurements, one function per question; each restores the initial state of the cluster."""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from scale import meters
from scale.client import OWNER
from scale.worlds import CONCURRENCY, PODS, Operator, World, condition, job, wait
from seedbed_api import metric_names as names
from seedbed_operator.backends.child_metadata import OWNER_SECRET_NAME
from seedbed_operator.informer_cache.object_views import job_record, job_view, profile_view
from seedbed_operator.job_observation import JobObservation
from seedbed_operator.kube_client.resource_kinds import CREATABLE
from seedbed_operator.plan import Create
from seedbed_operator.planning import plan

PATIENCE = 900.0
QUIET_SECONDS = 2.0

Result = dict[str, Any]


def say(*words: object) -> None:
    """Tell how far it is."""
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


@contextmanager
def operating(world: World, namespace: str) -> Iterator[Operator]:
    """Run an operator for a namespace, and show the end of its log where it was not up to it."""
    operator = world.operate(namespace)
    try:
        yield operator
    except SystemExit:
        say(operator.daemon.tail())
        raise
    finally:
        operator.stop()


def memory_without_pods(world: World, count: int) -> Result:
    """Return the operator's memory with so many suspended jobs, and with none."""
    world.namespace("idle")
    with operating(world, "idle") as operator:
        bare = meters.memory(operator.pid)
        began = meters.cpu_seconds(operator.pid)
        world.apply_jobs("idle", count, suspend=True)
        all_jobs(operator, "idle", "Suspended")
        settle(operator)
        cpu = meters.cpu_seconds(operator.pid) - began
        after_the_burst = meters.memory(operator.pid)
    with operating(world, "idle") as operator:
        settle(operator)
        restarted = meters.memory(operator.pid)
    world.remove("idle")
    return {"jobs": count, "bare": bare, "burst": after_the_burst, "restarted": restarted, "cpu": cpu}


def latency(world: World, rate: float, seconds: float) -> Result:
    """Return how long jobs that come at a rate wait for their pods, and the writes until they run."""
    namespace, count = f"steady-{rate:g}".replace(".", "-"), round(rate * seconds)
    world.namespace(namespace)
    with operating(world, namespace) as operator:
        before, cpu, own, stolen = world.writes(), _cpu(world, operator), operator.metrics(), meters.Stolen()
        asked = {"count": count, "first": 0, "rate": rate, "prefix": "job-", "job": job(), "pods": PODS}
        seen = world.client("watch", namespace=namespace, patience=PATIENCE, **asked)
        lost = stolen.share()
        all_jobs(operator, namespace, "Running")
        spent = _difference(_cpu(world, operator), cpu)
        writes = _difference(world.writes(), before) | {"events": world.events(namespace)}
        counted = _difference(operator.metrics(), own)
    world.remove(namespace)
    waits = [seen["created"][name] - sent for name, sent in seen["sent"].items() if name in seen["created"]]
    return {
        "jobs": count,
        "rate": rate,
        "seen": len(waits),
        "seconds": {"p50": _quantile(waits, 0.5), "p99": _quantile(waits, 0.99), "most": max(waits)},
        "apply_p50": statistics.median(seen["answered"][name] - sent for name, sent in seen["sent"].items()),
        "writes_per_job": {name: value / count for name, value in writes.items()},
        "own_writes_per_job": _own_writes(counted, count),
        "passes_per_job": _passes(counted) / count,
        "cpu": spent,
        "load": meters.load(),
        "stolen": lost,
    }


def creation(world: World, rounds: int, count: int, steady_seconds: float) -> Result:
    """Return how fast the operator and a plain client create the pods of as many jobs, in turns."""
    world.namespace("ours")
    world.namespace("raw")
    results: list[Result] = []
    with operating(world, "ours") as operator:
        for number in range(rounds):
            pair = {"ours": _ours, "raw": _raw}
            order = list(pair) if number % 2 else list(reversed(pair))
            turn: Result = {}
            for name in order:
                turn[name] = pair[name](world, operator, number * count, count)
                say(number, name, json.dumps(turn[name]))
            results.append(turn)
        settle(operator)
        with_pods = meters.memory(operator.pid)
        steady = {"makes no steps": _steady(world, operator, steady_seconds)}
        world.let_drivers_go_on()
        time.sleep(QUIET_SECONDS)
        steady["makes steps"] = _steady(world, operator, steady_seconds)
        jobs, pods = rounds * count, rounds * count * PODS
    return {"rounds": results, "jobs": jobs, "pods": pods, "memory": with_pods, "steady": steady}


def _ours(world: World, operator: Operator, first: int, count: int) -> Result:
    """Let the operator find so many new jobs at once: it sleeps while they are applied."""
    operator.daemon.send(signal.SIGSTOP)
    world.apply_jobs("ours", count, first=first)
    cpu, stolen, written = _cpu(world, operator), meters.Stolen(), world.writes()
    counting = world.begin("count", namespace="ours", until=(first + count) * PODS, patience=PATIENCE)
    time.sleep(0.5)
    began = time.time()
    operator.daemon.send(signal.SIGCONT)
    series = counting()["series"]
    spent, lost = _difference(_cpu(world, operator), cpu), stolen.share()
    writes = {name: value / count for name, value in _difference(world.writes(), written).items()}
    all_jobs(operator, "ours", "Running")
    settle(operator)
    until_quiet = _difference(_cpu(world, operator), cpu)
    figures = {
        "cpu": spent,
        "cpu_until_running": until_quiet,
        "stolen": lost,
        "writes_until_created": writes,
    }
    return _rate(series, began, count * PODS) | figures


def _raw(world: World, operator: Operator, first: int, count: int) -> Result:
    """Post what the operator would for so many jobs that it does not serve; it sleeps meanwhile."""
    operator.daemon.send(signal.SIGSTOP)
    world.apply_jobs("raw", count, first=first)
    bodies = world.folder / "bodies.jsonl"
    new = [each for each in world.jobs("raw") if int(each["metadata"]["name"][4:]) >= first]
    assert len(new) == count, len(new)
    profile = world.kube.get("/apis/seedbed.dev/v1alpha1/trainingprofiles/default")
    bodies.write_text("".join(json.dumps(children(each, profile)) + "\n" for each in new))
    cpu, stolen = _cpu(world, operator), meters.Stolen()
    counting = world.begin("count", namespace="raw", until=(first + count) * PODS, patience=PATIENCE)
    time.sleep(0.5)
    posted = world.client("post", bodies=str(bodies), concurrency=CONCURRENCY)
    series = counting()["series"]
    spent, lost = _difference(_cpu(world, operator), cpu) | {"client": posted["cpu"]}, stolen.share()
    wait(lambda: not _pending(world, "raw"), what="the pods of the plain client run")
    operator.daemon.send(signal.SIGCONT)
    settle(operator)
    return _rate(series, posted["began"], count * PODS) | {"cpu": spent, "stolen": lost}


def children(raw: Any, profile: Any) -> list[tuple[str, Any]]:
    """Return path and body of what the operator would create for a job, in its order.

    Without the Secret of the namespace's key: it is made once, not once per job.
    """
    view = job_view(job_record(raw))
    assert view.spec is not None, view.spec_error
    decided = plan(JobObservation(now=datetime.now(UTC), job=view, profile=profile_view(profile)))
    created = [
        action
        for action in decided.actions
        if isinstance(action, Create) and action.name != OWNER_SECRET_NAME
    ]
    assert len(created) == PODS + 2, [action.name for action in created]
    return [(CREATABLE[each.kind].path(view.namespace), _body(each)) for each in created]


def _body(create: Create) -> Any:
    body = dict(create.body)
    if create.owner is not None:
        owner = {"apiVersion": "v1", "kind": "Pod", "name": create.owner, "uid": OWNER.decode()}
        owner |= {"controller": True, "blockOwnerDeletion": False}
        body["metadata"] = {**body["metadata"], "ownerReferences": [owner]}
    if create.kind == "Secret":
        body["stringData"] = {"token": "a" * 43}
    return body


def _rate(series: list[tuple[float, int]], began: float, pods: int) -> Result:
    """Return how long it took until all pods were there, from the beginning."""
    seconds = series[-1][0] - began
    return {"seconds": seconds, "pods_per_second": pods / seconds, "load": meters.load()}


def _steady(world: World, operator: Operator, seconds: float) -> Result:
    """Return what it costs per second to attend to the jobs that run."""
    before, cpu, began = operator.metrics(), _cpu(world, operator), time.monotonic()
    writes = world.writes()
    time.sleep(seconds)
    passed = time.monotonic() - began
    spent = _difference(_cpu(world, operator), cpu)
    counted = _difference(operator.metrics(), before)
    return {
        "seconds": passed,
        "cpu": {name: value / passed for name, value in spent.items()},
        "passes": _passes(counted) / passed,
        "statuses": _difference(world.writes(), writes)["statuses"] / passed,
        "memory": meters.memory(operator.pid),
    }


def all_jobs(operator: Operator, namespace: str, kind: str) -> None:
    """Wait until a condition is True of all jobs of a namespace; give up where one or the operator cannot."""
    jobs: list[Any] = []

    def look() -> bool:
        jobs[:] = operator.world.jobs(namespace)
        return all(condition(each, kind) == "True" for each in jobs)

    def stuck() -> str | None:
        found = (each for each in jobs if "True" in (condition(each, "Stalled"), condition(each, "Failed")))
        return operator.ended() or next((json.dumps(each["status"]["conditions"]) for each in found), None)

    wait(look, what=f"all jobs {kind}", seconds=PATIENCE, failed=stuck)


def settle(operator: Operator) -> None:
    """Wait until the operator writes nothing more."""
    last = [-1.0, time.monotonic()]

    def quiet() -> bool:
        writes = sum(_own_writes(operator.metrics(), 1).values())
        if writes != last[0]:
            last[:] = [writes, time.monotonic()]
        return time.monotonic() - last[1] > QUIET_SECONDS

    wait(quiet, what="the operator is quiet", seconds=PATIENCE, failed=operator.ended, every=1.0)


def _pending(world: World, namespace: str) -> bool:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    return bool(world.kube.get(pods, fieldSelector="status.phase=Pending", limit="1")["items"])


def _cpu(world: World, operator: Operator) -> dict[str, float]:
    return {"operator": meters.cpu_seconds(operator.pid), **world.cpu()}


def _difference(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {name: value - before.get(name, 0) for name, value in after.items()}


def _passes(counted: dict[str, float]) -> float:
    return sum(meters.of(names.RECONCILES, counted).values())


def _own_writes(counted: dict[str, float], jobs: int) -> dict[str, float]:
    """Return the operator's own count of its writes that were carried out; leases are not the jobs'."""
    return {
        labels: count / jobs
        for labels, count in meters.of(names.REQUESTS, counted).items()
        if count and 'code="2' in labels and not any(word in labels for word in ('"GET"', "leases"))
    }


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
