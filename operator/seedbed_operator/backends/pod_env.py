"""The environment of the containers: every string of a user is data, and none of it is expanded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from seedbed_api.pod_template import EnvVar
from seedbed_operator.backends.backend_interface import Attempt
from seedbed_operator.backends.child_metadata import API_VERSION, TOKEN_KEY, token_name
from seedbed_operator.backends.pod_volumes import CACHE
from seedbed_operator.job_observation import JobView, Role

Variable = dict[str, Any]


def settings(values: Mapping[str, str | None]) -> list[Variable]:
    """Return variables whose values stand as they are: the kubelet replaces $(NAME), unless it is escaped."""
    return [
        {"name": name, "value": value.replace("$", "$$")}
        for name, value in values.items()
        if value is not None
    ]


def job_document(job: JobView) -> str:
    """Return the job as the driver reads it: JSON, with keys in one order."""
    assert job.spec is not None, "a job whose spec is refused has no children"
    metadata = {"name": job.name, "namespace": job.namespace, "uid": job.uid}
    document = {"apiVersion": API_VERSION, "kind": job.kind, "metadata": metadata}
    return json.dumps({**document, "spec": job.spec.plain()}, separators=(",", ":"), sort_keys=True)


def contract(
    job: JobView, attempt: Attempt, role: Role, *, ray: Mapping[str, str | None], cache_bytes: int
) -> list[Variable]:
    """Return what every container of ours is told; `ray` is how it finds the others, and what it holds."""
    values = {
        "SEEDBED_JOB": job_document(job),
        "SEEDBED_ATTEMPT": str(attempt.number),
        "SEEDBED_ROLE": role,
        **ray,
        **attempt.expected,
        "SEEDBED_CACHE_FOLDER": CACHE,
        "SEEDBED_CACHE_BYTES": str(cache_bytes),
        "HOME": "/tmp",
        "GLOO_SOCKET_IFNAME": "eth0",
        "RAY_AUTH_MODE": "token",
    }
    return [*_from_the_pod(), *settings(values), _token(job)]


def additions(*sources: tuple[EnvVar, ...]) -> list[Variable]:
    """Return the variables of profile and job, the later source first in rank."""
    merged = {variable.name: variable.value for source in sources for variable in source}
    return settings(merged)


def _from_the_pod() -> Iterator[Variable]:
    for name, path in (("POD_IP", "status.podIP"), ("POD_NAME", "metadata.name")):
        yield {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _token(job: JobView) -> Variable:
    reference = {"name": token_name(job), "key": TOKEN_KEY}
    return {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": reference}}
