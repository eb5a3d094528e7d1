"""Index of checkpoints by trajectory, so that a run can start from a state that another run has computed.

An entry is an empty object: `trajectories/<trajectory after step 1>/<step>-<trajectory>-<run>`. Runs with a
common beginning share a folder, so one listing finds them. The checkpoint of an entry may have been deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seedbed.runs.run_folder import RunFolder, open_run

_INDEX = "trajectories"
_NAME = re.compile(r"(?P<step>\d+)-(?P<trajectory>[0-9a-f]{64})-(?P<run>[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexedCheckpoint:
    """An entry; its checkpoint may have been deleted."""

    step: int
    trajectory_id: str
    run_id: str


def add_checkpoint(folder: RunFolder, *, beginning: str, trajectory_id: str, step: int) -> None:
    """Add a checkpoint; `beginning` is the trajectory identity after step 1."""
    folder.output.create(_path(folder, beginning, trajectory_id, step), b"")


def remove_checkpoint(folder: RunFolder, *, beginning: str, trajectory_id: str, step: int) -> None:
    """Remove a deleted checkpoint."""
    folder.output.delete(_path(folder, beginning, trajectory_id, step))


def remove_run_checkpoints(folder: RunFolder) -> None:
    """Remove all checkpoints of a run."""
    for path in folder.output.list(_INDEX):
        if path.endswith(f"-{folder.name}"):
            folder.output.delete(path)


def checkpoints_of_others(folder: RunFolder, *, beginning: str, up_to: int) -> Iterator[IndexedCheckpoint]:
    """Yield checkpoints of other runs with a common beginning, of at most `up_to` steps, the latest first."""
    names = (path.rpartition("/")[2] for path in folder.output.list(_folder(beginning)))
    found = (
        IndexedCheckpoint(
            step=int(match["step"]),
            trajectory_id=f"sha256:{match['trajectory']}",
            run_id=f"sha256:{match['run']}",
        )
        for match in map(_NAME.fullmatch, names)
        if match
    )
    others = [each for each in found if each.step <= up_to and each.run_id != folder.run_id]
    yield from sorted(others, key=lambda each: (-each.step, each.run_id))


def run_of_checkpoint(folder: RunFolder, entry: IndexedCheckpoint) -> RunFolder:
    """Return the folder of the run of an entry."""
    return open_run(folder.output, entry.run_id, owner=folder.owner)


def _folder(beginning: str) -> str:
    return f"{_INDEX}/{beginning.removeprefix('sha256:')}"


def _path(folder: RunFolder, beginning: str, trajectory_id: str, step: int) -> str:
    return f"{_folder(beginning)}/{step}-{trajectory_id.removeprefix('sha256:')}-{folder.name}"
