"""The runs of an output store: what each is, what needs it, and which may go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from seedbed.driver.run_result import Result, read_result
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.run_deletion import holder, objects_of, remove_run
from seedbed.runs.run_folder import RECIPE, RunFolder, open_run, run_names
from seedbed.storage import Storage
from seedbed.sweeps.sweep_record import runs_needed_by_sweeps
from seedbed_api.errors import UserError, refusal

RunStatus = Literal["complete", "training", "open"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """One run of a store."""

    folder: RunFolder
    status: RunStatus
    step: int
    """Steps of the newest checkpoint, or of the whole run."""
    bytes: int
    result: Result | None
    recipe: Mapping[str, Any]
    """Resolved; empty where the run never came so far."""
    sweep: str | None
    """Hex digits of a sweep that needs it."""

    @property
    def model(self) -> str:
        """Return what is trained."""
        return model_name(self.recipe)

    @property
    def needed_by(self) -> str | None:
        """Return why it must stay; None where it may go."""
        if self.status == "training":
            return "it is trained now"
        return None if self.sweep is None else f"sweep {self.sweep[:12]} needs it"


def model_name(recipe: Mapping[str, Any]) -> str:
    """Return what a resolved recipe trains; empty where it does not say."""
    model = recipe.get("model", {})
    return str(model.get("name") or model.get("entrypoint") or "")


def list_runs(output: Storage) -> Iterator[StoredRun]:
    """Yield the runs of a store by identity; those of which only the claims are left are none."""
    needed = runs_needed_by_sweeps(output)
    for name in sorted(run_names(output)):
        kept = _kept(open_run(output, f"sha256:{name}"), needed.get(name))
        if kept is not None:
            yield kept


def _kept(folder: RunFolder, sweep: str | None) -> StoredRun | None:
    sizes = objects_of(folder)
    if not sizes:
        return None
    result = read_result(folder)
    state: RunStatus = "complete" if result else "training" if holder(folder) else "open"
    return StoredRun(
        folder=folder,
        status=state,
        step=result.outcome.step if result else max(checkpoint_steps(folder), default=0),
        bytes=sum(sizes.values()),
        result=result,
        recipe=json.loads(folder.objects.read(RECIPE)) if RECIPE in sizes else {},
        sweep=sweep,
    )


def find_run(runs: Sequence[StoredRun], name: str) -> StoredRun:
    """Return the one run whose identity begins so; raises UserError for none and for several."""
    hexadecimal = name.removeprefix("sha256:")
    found = [run for run in runs if run.folder.name.startswith(hexadecimal)]
    if len(found) == 1 and hexadecimal:
        return found[0]
    problem = "no run of this store has this name" if not found else f"{len(found)} runs begin so"
    raise UserError("InvalidOption", refusal("RUN", name, problem, "copy it from `seedbed runs list`"))


def select_removable(runs: Sequence[StoredRun], names: Sequence[str]) -> list[StoredRun]:
    """Return the runs that were named, or else those that are not complete and that nothing needs.

    Raises UserError where something needs a run that was named.
    """
    if not names:
        return [run for run in runs if run.status == "open" and run.needed_by is None]
    chosen = [find_run(runs, name) for name in names]
    for run in chosen:
        if run.needed_by is not None:
            fix = "leave it, or stop what needs it first (of a sweep: remove its folder below sweeps/)"
            raise UserError("InvalidOption", refusal("RUN", run.folder.name[:12], run.needed_by, fix))
    return chosen


def delete_run(run: StoredRun) -> None:
    """Remove a run; raises `seedbed.runs.run_deletion.InUse` where somebody has begun to train it."""
    remove_run(run.folder, version=version("seedbed"))
