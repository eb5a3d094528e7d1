"""The entry of a run or sweep in MLflow: tags, parameters and metrics, sent as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the models would double the start of the client process
    from seedbed_api.job_kinds import Job

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
RUN_ID, SWEEP_ID, KIND = "seedbed.run_id", "seedbed.sweep_id", "seedbed.kind"
_LONGEST_VALUE = 500
"""Characters of a parameter that every version of the server accepts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSource:
    """The run folder with the curves of a run."""

    output: str
    secret: str | None
    """Folder of the output's Secret."""
    run_id: str
    folder: str = ""
    """Folder of the output below which the run folder lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEntry:
    """Everything known of a run or sweep; it may be sent at any time, and again."""

    key: dict[str, str]
    """Tags that identify it on the server."""
    experiment: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    state: RunStatus = "RUNNING"
    curve: CurveSource | None = None
    parent: dict[str, str] | None = None
    """Tags that identify the run that it belongs to."""
    results: dict[str, float] = field(default_factory=dict)
    """Final metrics by name."""
    step: int = 0
    """Step of the final metrics."""
    abandoned: tuple[str, ...] = ()
    """Identities of runs that will not be continued."""

    def line(self) -> str:
        """Return the entry as a line of JSON."""
        return json.dumps(asdict(self))


def entry_from_line(line: str) -> RunEntry:
    """Return the entry in a line of JSON."""
    document = json.loads(line)
    curve = document["curve"] and CurveSource(**document["curve"])
    return RunEntry(**document | {"curve": curve, "abandoned": tuple(document["abandoned"])})


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
