"""What a server is to hold of a run or a sweep: values that travel to the process that talks to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
RUN_ID, SWEEP_ID, KIND = "seedbed.run_id", "seedbed.sweep_id", "seedbed.kind"


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSource:
    """Where the curves of a run lie."""

    output: str
    secret: str | None
    """Folder of the output's Secret."""
    run_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEntry:
    """All that is known of a run or sweep: it can be told at any time, and again."""

    key: dict[str, str]
    """Tags by which it is found again."""
    experiment: str
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    state: RunStatus = "RUNNING"
    curve: CurveSource | None = None
    parent: dict[str, str] | None = None
    """Tags by which the run that it belongs to is found."""
    results: dict[str, float] = field(default_factory=dict)
    """Metrics of the end, by name."""
    step: int = 0
    """Completed steps that they belong to."""
    abandoned: tuple[str, ...] = ()
    """Identities of runs that will not go on."""

    def line(self) -> str:
        """Return the entry as a line of JSON."""
        return json.dumps(asdict(self))


def entry_from_line(line: str) -> RunEntry:
    """Return the entry that a line holds."""
    document = json.loads(line)
    curve = document["curve"] and CurveSource(**document["curve"])
    return RunEntry(**document | {"curve": curve, "abandoned": tuple(document["abandoned"])})
