"""Jobs of large metadata on a real API server, and the memory of the operator that serves them."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from cluster.operator_process import JOBS, Process
from support.operator.builders import a_recipe
from testbed.kube import Json, Kube, Refused

_KEY = "another.dev/notes"
_TRIES = 20
LARGEST_ANNOTATION = "x" * (262_144 - len(_KEY))
"""The API server allows 262,144 bytes of keys and values of annotations."""


def memory_limit() -> int:
    """Return the chart's limit of the operator's memory in bytes."""
    values = yaml.safe_load(Path("charts/seedbed/values.yaml").read_text(encoding="utf-8"))
    limit: str = values["operator"]["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    return int(limit[:-2]) * 1024 * 1024


def memory(process: Process) -> tuple[int, int]:
    """Return resident and peak memory of an operator in bytes."""
    return memory_of(process.process.pid)


def memory_of(pid: int) -> tuple[int, int]:
    """Return resident and peak memory of a process in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return int(found["VmRSS"].split()[0]) * 1024, int(found["VmHWM"].split()[0]) * 1024


def create_jobs(
    kube: Kube, namespace: str, count: int, *, annotation: str = "", suspend: bool = False
) -> None:
    """Create so many jobs of one worker, with an annotation of somebody else's."""
    annotations = {_KEY: annotation} if annotation else {}
    spec = {**a_recipe(), "suspend": suspend, "cluster": {"workers": {"min": 1, "max": 1}}}

    def create(number: int) -> None:
        metadata = {"name": f"job-{number}", "annotations": annotations}
        body = {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": metadata,
            "spec": spec,
        }
        _create(kube, JOBS.format(namespace), body)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(count)))


def _create(kube: Kube, path: str, body: Json) -> None:
    """Create an object, again while etcd or the API server of a busy machine runs out of time."""
    for tried in itertools.count():
        try:
            kube.create(path, body)
        except Refused as refused:
            if refused.status == 409 and tried:
                return  # the try before was carried out
            if refused.status < 500 or tried == _TRIES:
                raise
            time.sleep(1)
        else:
            return
