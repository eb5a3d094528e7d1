"""Retention of runs in an output store: which runs there are, what needs them, which may be removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.result_file import Result, read_result
from seedbed.runs.run_deletion import current_holder, removable_objects, remove_run
from seedbed.runs.run_folder import RECIPE, RunFolder, open_run, run_names
from seedbed.runs.sweep_record import runs_needed_by_sweeps
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

RunStatus = Literal["complete", "training", "open"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """A run of an output store."""

    folder: RunFolder
    status: RunStatus
    step: int
    """Steps of the newest checkpoint, or of the complete run."""
    bytes: int
    result: Result | None
    recipe: Mapping[str, Any]
    """Resolved; empty if the run failed before it was stored."""
    sweep: str | None
    """Hex digits of a sweep that needs it."""

    @property
    def model(self) -> str:
        """Return the name of the model."""
        return model_name(self.recipe)

    @property
    def needed_by(self) -> str | None:
        """Return why the run may not be removed; None if it may."""
        if self.status == "training":
            return "it is being trained"
        return None if self.sweep is None else f"sweep {self.sweep[:12]} needs it"


def model_name(recipe: Mapping[str, Any]) -> str:
    """Return the model or entrypoint of a resolved recipe."""
    model = recipe.get("model", {})
    return str(model.get("name") or model.get("entrypoint") or "")


def list_runs(output: Storage) -> Iterator[StoredRun]:
    """Yield the runs of a store by identity; removed runs, of which only claims are left, do not count."""
    needed = runs_needed_by_sweeps(output)
    for name in sorted(run_names(output)):
        kept = _kept(open_run(output, f"sha256:{name}"), needed.get(name))
        if kept is not None:
            yield kept


def _kept(folder: RunFolder, sweep: str | None) -> StoredRun | None:
    sizes = removable_objects(folder)
    if not sizes:
        return None
    result = read_result(folder)
    state: RunStatus = "complete" if result else "training" if current_holder(folder) else "open"
    return StoredRun(
        folder=folder,
        status=state,
        step=result.outcome.step if result else max(checkpoint_steps(folder), default=0),
        bytes=sum(sizes.values()),
        result=result,
        recipe=folder.read_json(RECIPE) if RECIPE in sizes else {},
        sweep=sweep,
    )


def find_run(runs: Sequence[StoredRun], name: str) -> StoredRun:
    """Return the run whose identity starts with `name`; raises UserError for none or several."""
    hexadecimal = name.removeprefix("sha256:")
    found = [run for run in runs if run.folder.name.startswith(hexadecimal)]
    if len(found) == 1 and hexadecimal:
        return found[0]
    problem = "is no run of this store" if not found else f"is ambiguous: {len(found)} runs start with it"
    raise UserError("InvalidOption", refusal("RUN", name, problem, "copy it from `seedbed runs list`"))


def select_removable(runs: Sequence[StoredRun], names: Sequence[str]) -> list[StoredRun]:
    """Return the named runs, or without names the incomplete runs that nothing needs.

    Raises UserError if a named run is needed.
    """
    if not names:
        return [run for run in runs if run.status == "open" and run.needed_by is None]
    chosen = [find_run(runs, name) for name in names]
    for run in chosen:
        if run.needed_by is not None:
            fix = "stop its training first, or remove the sweep's folder below sweeps/"
            raise UserError("InvalidOption", refusal("RUN", run.folder.name[:12], run.needed_by, fix))
    return chosen


def delete_run(run: StoredRun) -> None:
    """Remove a run; raises `seedbed.runs.run_deletion.RunInUse` if its training has started meanwhile."""
    remove_run(run.folder, version=version("seedbed"))
