"""What kubectl prints of a job, and what is left of it."""

from __future__ import annotations

import itertools
import json

from e2e.jobs import (
    Jobs,
)


def columns(table: str) -> dict[str, str]:
    """Return the only row of what `kubectl get` prints, by header."""
    header, row = table.splitlines()
    starts = [header.index(name) for name in header.split()] + [None]
    cells = itertools.pairwise(starts)
    return {header[a:b].strip(): row[a:b].strip() for a, b in cells}


def left_of(jobs: Jobs, uid: str) -> dict[str, list[str]]:
    """Return what bears the label of a job, by kind."""
    kube = jobs.testbed.kube
    resources = kube.kubectl("api-resources", "--namespaced", "--verbs=list,delete", "-o", "name").split()
    kinds = ",".join(sorted(set(resources) - {"events", "events.events.k8s.io"}))
    selector = f"seedbed.dev/job-uid={uid}"
    found = json.loads(kube.kubectl("get", kinds, "-n", jobs.namespace, "-l", selector, "-o", "json"))
    left: dict[str, list[str]] = {}
    for thing in found["items"]:
        if thing["kind"] not in ("EndpointSlice", "Endpoints"):  # the Service's, collected after it
            left.setdefault(thing["kind"], []).append(thing["metadata"]["name"])
    return left
