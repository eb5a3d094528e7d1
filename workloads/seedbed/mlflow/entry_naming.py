"""Experiment, tags and parameters of an entry, for runs and sweeps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from seedbed.mlflow.mlflow_entries import KIND, SWEEP_ID
from seedbed_api.job_kinds import Job

_LONGEST_VALUE = 500
"""Characters of a parameter that every version of the server accepts."""


def experiment_of(job: Job) -> str:
    """Return the experiment of a job unless the user names one."""
    about = job.metadata
    return f"{about.namespace}/{about.name}" if about.namespace else about.name


def sweep_key(sweep_id: str) -> dict[str, str]:
    """Return the tags that identify the entry of a sweep."""
    return {SWEEP_ID: sweep_id, KIND: "SweepJob"}


def flattened(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a recipe by path, arguments by name; a list of values is one field."""
    return {path: text[:_LONGEST_VALUE] for path, text in _fields(document, "")}


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _fields(inner, f"{path}.{name}" if path else str(name))
        case [*entries] if entries and all(isinstance(each, Mapping) for each in entries):
            for place, each in enumerate(entries):
                named = each.keys() == {"name", "value"}
                inner = each["value"] if named else each
                yield from _fields(inner, f"{path}.{each['name'] if named else place}")
        case str():
            yield path, value
        case _:
            yield path, json.dumps(value)
