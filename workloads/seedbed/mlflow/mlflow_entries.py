"""What MLflow stores of a run or sweep, as one line of JSON for the client process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
RUN_ID, SWEEP_ID, KIND = "seedbed.run_id", "seedbed.sweep_id", "seedbed.kind"


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSource:
    """The run folder with the curves of a run."""

    output: str
    secret: str | None
    """Folder of the output's Secret."""
    run_id: str


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
