"""Resolves a SweepJob before any trial: dataset, code, environment, and so the sweep identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.driver.job_code import digest_of_library
from seedbed.driver.output_trust import owner_of
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, resolve_run
from seedbed.driver.startup_timings import StartupTimings
from seedbed.driver.training_row_check import Fold, require_every_class
from seedbed.ray_cluster.cluster_interface import TaskRunner
from seedbed.runs.own_folders import own_place
from seedbed.runs.owner_records import Owner
from seedbed.search.sweep_identity import sweep_document, sweep_id
from seedbed.search.sweep_validation import require_possible_search
from seedbed.storage import Storage, open_output
from seedbed.training.loss_mapping import require_metric
from seedbed.training.worker_config import STORAGE_RETRY_SECONDS
from seedbed.usercode.library_networks import library_digest, library_of
from seedbed_api.errors import SeedbedError, UserError, refusal
from seedbed_api.manifest_loader import training_job
from seedbed_api.recipe import Recipe
from seedbed_api.run_identity import ExpectedIdentity, resolve, run_id
from seedbed_api.sweepjob import SweepJob, SweepJobSpec
from seedbed_api.trainingjob import TrainingJob
from seedbed_api.trial_recipe import trial_recipe

_FIELD_OF_FOLDS = "spec.crossValidation.folds"
_OF_THE_TEMPLATE = ("spec.dataset.", "spec.model", "spec.training.", "spec.evaluation")


@dataclass(frozen=True, kw_only=True)
class ResolvedSweep:
    """A fully determined sweep; picklable, so that trials in other processes need not resolve it again."""

    job: SweepJob
    options: RunOptions
    """With dataset, code and environment pinned."""
    dataset_digest: str
    code_digest: str | None
    samples: int = 0
    """Train rows of the template; with cross-validation those of fold 0."""

    @property
    def spec(self) -> SweepJobSpec:
        """Return the spec of the job."""
        return self.job.spec

    @property
    def fold_numbers(self) -> tuple[int | None, ...]:
        """Return the folds of a trial: (None,) without cross-validation."""
        block = self.spec.cross_validation
        return (None,) if block is None else tuple(range(block.folds))

    @property
    def environment_class(self) -> str:
        """Return the environment class of the trials."""
        assert self.options.probed is not None
        return self.options.probed[1]

    @property
    def weights_digest(self) -> str | None:
        """Return the digest of the weights that all trials start from; None for random ones."""
        return None if self.options.weights is None else self.options.weights.digest

    @property
    def identity_document(self) -> dict[str, Any]:
        """Return the document of which the identity is the digest."""
        return sweep_document(
            self.spec,
            dataset_digest=self.dataset_digest,
            arithmetic_version=ARITHMETIC_VERSION,
            environment_class=self.environment_class,
            code_digest=self.code_digest,
            weights_digest=self.weights_digest,
            libraries=libraries_of_trials(self.spec),
        )

    @cached_property
    def identity(self) -> str:
        """Return the sweep identity, sha256:<hex>."""
        return sweep_id(self.identity_document)

    def run_ids(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Return the run identity of each fold of a trial; none if the values make no valid recipe."""
        try:
            recipe = trial_recipe(self.spec, values)
            runs = [trial_job(self.job, recipe, fold=fold) for fold in self.fold_numbers]
        except (ValidationError, UserError):
            return ()
        return tuple(map(self.run_id, runs))

    def run_id(self, run: TrainingJob) -> str:
        """Return the identity of one of the sweep's runs."""
        code_digest = self.code_digest if run.spec.model.entrypoint else digest_of_library(run.spec)
        resolved = resolve(
            run,
            dataset_digest=self.dataset_digest,
            code_digest=code_digest,
            weights_digest=self.weights_digest,
        )
        return run_id(
            resolved, arithmetic_version=ARITHMETIC_VERSION, environment_class=self.environment_class
        )

    def output_store(self) -> Storage:
        """Return the output store of runs and sweeps."""
        uri, secret = self.spec.output.uri, self.options.output_secret
        return open_output(uri, secret=secret, retry_seconds=STORAGE_RETRY_SECONDS)

    @cached_property
    def owner(self) -> Owner | None:
        """Return the owner whose records and runs alone are believed."""
        return owner_of(self.spec.output, self.options)

    @cached_property
    def _folder(self) -> Storage:
        path = f"sweeps/{self.identity.removeprefix('sha256:')}"
        output = self.output_store()
        below = own_place(output, path, self.identity, self.owner)
        return (output.child(below) if below else output).child(path)

    def folder(self) -> Storage:
        """Return the folder `sweeps/<sweep>` of the output store, or of the owner's place in it."""
        return self._folder


def resolve_sweep(
    job: SweepJob, options: RunOptions, timeline: StartupTimings, *, cluster: TaskRunner | None = None
) -> ResolvedSweep:
    """Resolve the sweep; writes nothing. Raises UserError for errors that every trial would have.

    The environment is probed on `cluster`, which may still be starting; without one in this process.
    """
    require_possible_search(job.spec)
    expected = replace(options.expected, run_id=None)  # the expected identity is that of the sweep
    with template_field_names(job):
        template = resolve_run(
            trial_job(
                job, job.spec.trial_template.spec, fold=None if job.spec.cross_validation is None else 0
            ),
            replace(options, expected=expected),
            timeline,
            cluster=cluster,
        )
    metric = job.spec.objective.metric
    require_metric(metric, task=template.dataset.task, field="spec.objective.metric")
    _require_validation_rows(job, template)
    sweep = ResolvedSweep(
        job=job,
        options=replace(
            options,
            probed=(template.environment, template.environment_class),
            expected=ExpectedIdentity(dataset_digest=template.dataset.digest),
            fetched=template.code,
            weights=template.weights,
            checked_indices=template.options.checked_indices,
        ),
        dataset_digest=template.dataset.digest,
        code_digest=template.resolved["model"].get("code", {}).get("digest"),
        samples=template.samples,
    )
    _require_same_sweep(sweep, options.expected)
    return sweep


def libraries_of_trials(spec: SweepJobSpec) -> Mapping[str, str]:
    """Return the digests of the libraries from which trials may take networks, by name.

    Raises UserError ModelError where one is not installed.
    """
    spaces = [each.search_space for each in spec.parameters if each.field_path == "model.name"]
    names = [value for space in spaces if space.categorical for value in space.categorical.values]
    libraries = sorted({library for library in map(library_of, names) if library})
    return {library: library_digest(library) for library in libraries}


def _require_same_sweep(sweep: ResolvedSweep, expected: ExpectedIdentity) -> None:
    """Raise UserError if a retry would run another sweep than the attempts before it."""
    if expected.run_id not in (None, sweep.identity):
        problem = f"code, weights or version of seedbed differ: the job began as sweep {expected.run_id}"
        fix = "restore image, profile and kind of node, or create a new job"
        raise UserError("EnvironmentChanged", refusal("status.sweepID", sweep.identity, problem, fix))


def trial_job(job: SweepJob, recipe: Recipe, *, fold: int | None) -> TrainingJob:
    """Return the TrainingJob of a trial or of its fold: its recipe with the sweep's execution fields."""
    spec, workers = job.spec, job.spec.workers_per_trial
    cluster = {"workers": {"min": workers, "max": workers}, "feed": spec.cluster.feed}
    execution = {"output": spec.output.plain(), "checkpoint": spec.checkpoint.plain(), "cluster": cluster}
    blocks = recipe.plain()
    if fold is not None:
        assert spec.cross_validation is not None
        blocks["dataset"]["fold"] = {"index": fold, "count": spec.cross_validation.folds}
    return training_job(
        {
            "apiVersion": job.api_version,
            "kind": "TrainingJob",
            "metadata": {"name": job.metadata.name},
            "spec": blocks | execution | {"backoffLimit": spec.backoff_limit},
        }
    )


@contextmanager
def template_field_names(job: SweepJob) -> Iterator[None]:
    """Replace fields of the TrainingJob by those of the SweepJob in messages of errors."""
    try:
        yield
    except SeedbedError as error:
        line = f"spec.{error.message}" if error.message.startswith("dataset.") else error.message
        if job.spec.cross_validation is not None and line.startswith("spec.dataset.fold:"):
            line = line.replace("spec.dataset.fold", _FIELD_OF_FOLDS, 1)
            raise type(error)(error.reason, line) from error
        if not line.startswith(_OF_THE_TEMPLATE):
            raise
        raise type(error)(error.reason, f"spec.trialTemplate.{line}") from error


def _require_validation_rows(job: SweepJob, template: ResolvedRun) -> None:
    """Raise UserError if a fold has no validation rows, or lacks rows of a class."""
    subset = job.spec.trial_template.spec.dataset.subset
    fraction = None if subset is None else subset.fraction
    cross = job.spec.cross_validation
    if cross is None:
        if not template.dataset.view(split="validation", subset=fraction, fold=None).count:
            problem = "has no validation rows, by which trials are judged"
            fix = "build the dataset with a validation split, or set spec.crossValidation"
            uri = job.spec.trial_template.spec.dataset.uri
            raise UserError(
                "InvalidDataset", refusal("spec.trialTemplate.spec.dataset.uri", uri, problem, fix)
            )
        return
    for fold in range(cross.folds):
        _require_rows_of_fold(job, template, fraction, (fold, cross.folds))


def _require_rows_of_fold(job: SweepJob, template: ResolvedRun, fraction: str | None, fold: Fold) -> None:
    dataset, uri = template.dataset, job.spec.trial_template.spec.dataset.uri
    with template_field_names(job):
        counts = dataset.rows_per_class(subset=fraction, fold=fold)
        require_every_class(dataset, counts, subset=fraction, fold=fold, uri=uri)
    if not dataset.view(split="validation", subset=fraction, fold=fold).count:
        problem = f"fold {fold[0]} is left without rows to judge by"
        raise UserError("InvalidDataset", refusal(_FIELD_OF_FOLDS, fold[1], problem, "use fewer folds"))
