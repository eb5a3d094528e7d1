"""Resolve the recipe of a receipt into a run and its worker configuration; the run identity must be equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seedbed.driver.error_policy import errors_name_field
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, resolve_run, worker_config_of
from seedbed.driver.starting_weights import file_source
from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.receipts import Receipt
from seedbed.replay.run_differences import environment_differences
from seedbed.storage import absolute_url
from seedbed.training.initial_weights import WeightsSource
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import UserError, refusal
from seedbed_api.manifest_loader import training_job
from seedbed_api.trainingjob import TrainingJob

UNUSED_OUTPUT = "memory://seedbed-replay"
"""The required output URL of the manifest; a replay writes nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSources:
    """Current locations of dataset, code and weights."""

    dataset: str | None = None
    """URL; None means the one in the receipt."""
    dataset_secret: Path | None = None
    code: Path | None = None
    code_uri: str | None = None
    """URL of the code, where it is no local folder."""
    weights: str | None = None
    """URL of the weights that the run started from; None means the one in the receipt."""
    output_secret: Path | None = None
    """Credentials of the output store, for weights of another run in it."""
    workers: int = 1


def resolve_from_receipt(
    receipt: Receipt, sources: DataSources, environment: Mapping[str, Any] | None
) -> ResolvedRun:
    """Resolve the recipe of a receipt again. `environment` is the document of the run, if it is known.

    Raises UserError: InvalidSpec without a dataset, DatasetChanged, InvalidDataset, ModelError,
    EnvironmentChanged.
    """
    device = _device(environment)
    options = RunOptions(device=device, code=sources.code, dataset_secret=sources.dataset_secret)
    job = training_job(_manifest(receipt, sources), "receipt")
    options = replace(options, weights=_weights(job, receipt, sources))
    try:
        prepared = resolve_run(job, options, StartupTimings())
    except UserError as error:
        if sources.dataset is None and error.reason in {"InvalidDataset", "DatasetChanged"}:
            line = f"{error.message}; where the dataset has moved, give --dataset URL"
            raise UserError(error.reason, line) from error
        raise
    _refuse_other_environment(receipt, prepared, environment)
    _refuse_other_recipe(receipt, prepared)
    return prepared


def worker_config_from(prepared: ResolvedRun, *, workers: int) -> WorkerConfig:
    """Return the worker configuration of a replay, with the Local feed."""
    return worker_config_of(prepared, attempt=0, workers=WorkerRange(least=workers, most=workers))


def dataset_url(receipt: Receipt, sources: DataSources) -> str:
    """Return the URL of the dataset: the given one, else the one in the receipt."""
    url = sources.dataset or str(receipt.execution.get("datasetURI", ""))
    if not url:
        problem = "the receipt does not name the URL of its dataset"
        raise UserError("InvalidSpec", refusal("--dataset", sources.dataset, problem, "give --dataset URL"))
    with errors_name_field("--dataset" if sources.dataset else "datasetURI of the receipt"):
        return absolute_url(url)


def weights_url(receipt: Receipt, sources: DataSources) -> str:
    """Return the URL of the weights that the run started from: the given one, else the one in the receipt."""
    url = sources.weights or str(receipt.execution.get("weightsURI", ""))
    if not url:
        problem = "the receipt does not name the URL of the weights that the run started from"
        raise UserError("InvalidSpec", refusal("--weights", sources.weights, problem, "give --weights URL"))
    return absolute_url(url)


def _weights(job: TrainingJob, receipt: Receipt, sources: DataSources) -> WeightsSource | None:
    """Return where the weights are, with the credentials of the store that they lie in."""
    block = job.spec.model.weights
    if block is None:
        return None
    of_a_run = sources.weights is None and "weightsRun" in receipt.execution
    secret = sources.output_secret if of_a_run else sources.dataset_secret
    assert block.uri is not None, "the manifest of a replay names a file"
    return replace(file_source(block, uri=block.uri, secret=secret), field="--weights")


def _manifest(receipt: Receipt, sources: DataSources) -> dict[str, Any]:
    decided = receipt.decided
    if sources.workers > decided.leaves:
        fix = f"use at most {decided.leaves}"
        problem = f"a step has {decided.leaves} leaves, more workers have nothing to do"
        raise UserError("InvalidSpec", refusal("--workers", sources.workers, problem, fix))
    recipe = dict(decided.recipe)
    recipe["dataset"] = {**recipe["dataset"], "uri": dataset_url(receipt, sources)}
    recipe["model"] = {name: value for name, value in recipe["model"].items() if name != "code"}
    if sources.code_uri is not None:
        recipe["model"]["code"] = {"uri": sources.code_uri}
    if "weights" in recipe["model"]:
        place = {"uri": weights_url(receipt, sources)}
        recipe["model"]["weights"] = recipe["model"]["weights"] | place
    workers = {"min": sources.workers, "max": sources.workers}
    execution = {"output": {"uri": UNUSED_OUTPUT}, "cluster": {"feed": "Local", "workers": workers}}
    return {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "replay"},
        "spec": recipe | execution,
    }


def _device(environment: Mapping[str, Any] | None) -> str:
    if environment is None or environment["device"]["type"] == "cpu":
        return "cpu"
    import torch

    kind = str(environment["device"]["type"])
    if not torch.cuda.is_available():
        line = f"device: the run was trained on {environment['device']['model']}, here is no {kind} device"
        raise UserError("EnvironmentChanged", f"{line}; verify it on a machine of the same environment class")
    return kind


def _refuse_other_environment(
    receipt: Receipt, prepared: ResolvedRun, environment: Mapping[str, Any] | None
) -> None:
    theirs, ours = receipt.decided.environment_class, prepared.environment_class
    if theirs == ours:
        return
    fix = "verify it on a machine of the same environment class"
    if environment is None:
        line = f"environment class {theirs} in the receipt, {ours} here (--run URL shows what differs); {fix}"
    else:
        lines = environment_differences(environment, prepared.environment)
        line = f"environment of the run != here: {'; '.join(lines)}; {fix}"
    raise UserError("EnvironmentChanged", line)


def _refuse_other_recipe(receipt: Receipt, prepared: ResolvedRun) -> None:
    theirs, ours = receipt.decided, prepared
    wanted, found = (
        recipe["model"].get("code", {}).get("digest") for recipe in (theirs.recipe, ours.resolved)
    )
    if wanted != found:
        problem = f"the code here has digest {found}"
        raise UserError(
            "ModelError",
            refusal("model.code.digest", wanted, problem, "name the code of the run by --code DIR"),
        )
    if theirs.run_id != ours.run_id:
        line = "this version of seedbed resolves the recipe of the receipt differently; use the version that "
        raise UserError("EnvironmentChanged", line + f"wrote it (run {theirs.run_id} became {ours.run_id})")
