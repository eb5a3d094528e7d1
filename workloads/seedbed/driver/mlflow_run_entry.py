"""The MLflow entry of a run: tags, parameters, place in a sweep, and the fields that its result adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedbed.mlflow.mlflow_entries import (
    RUN_ID,
    SWEEP_ID,
    CurveSource,
    RunEntry,
    experiment_of,
    flattened,
    sweep_key,
)
from seedbed.mlflow.run_recorder import RunRecorder, open_recorder

if TYPE_CHECKING:
    from seedbed.driver.resolve_run import ResolvedRun
    from seedbed.runs.result_file import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepMembership:
    """Which part of a sweep a run is."""

    experiment: str
    sweep_id: str
    trial: int
    fold: int | None


def recording_of(
    run: ResolvedRun, member: SweepMembership | None, notice: Callable[[str], None]
) -> RunRecorder | None:
    """Return the recorder of a run; None where no MLflow server is configured."""
    return open_recorder(lambda: entry_of(run, member), run.options.output_secret, notice)


def entry_of(run: ResolvedRun, member: SweepMembership | None) -> RunEntry:
    """Return the entry of a run that starts or continues."""
    spec, secret = run.job.spec, run.options.output_secret
    key = {RUN_ID: run.run_id}
    about = {
        "seedbed.dataset_digest": run.dataset.digest,
        "seedbed.environment_class": run.environment_class,
        "seedbed.run_folder": run.folder.url,
        "mlflow.source.name": "seedbed",
    }
    return RunEntry(
        key=key,
        experiment=member.experiment if member else experiment_of(run.job),
        name=_trial_name(member) if member else run.job.metadata.name,
        tags=key | about | (_trial_tags(member) if member else {}),
        params=flattened(run.resolved),
        curve=CurveSource(
            output=spec.output.uri,
            secret=None if secret is None else str(secret),
            run_id=run.run_id,
            folder=run.output_folder,
        ),
        parent=sweep_key(member.sweep_id) if member else None,
    )


def end_of(result: Result | None) -> dict[str, Any] | None:
    """Return the fields that a result adds to an entry; `model/…` are metrics of the selected weights."""
    if result is None:
        return None
    proof = {
        "seedbed.weights_digest": result.outcome.weights_digest,
        "seedbed.receipt_digest": result.receipt_digest,
    }
    results = {f"model/{name}": float(value) for name, value in result.metrics.items()}
    return {"tags": proof, "results": results, "step": result.outcome.selected_step}


def _trial_name(member: SweepMembership) -> str:
    fold = "" if member.fold is None else f"-fold-{member.fold}"
    return f"trial-{member.trial}{fold}"


def _trial_tags(member: SweepMembership) -> dict[str, str]:
    fold = {} if member.fold is None else {"seedbed.fold": str(member.fold)}
    return {SWEEP_ID: member.sweep_id, "seedbed.trial": str(member.trial)} | fold
