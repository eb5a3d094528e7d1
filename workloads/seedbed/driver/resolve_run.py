"""Resolve a run before anything is written: dataset, code, environment class and so the run identity."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.dataset import Dataset, open_dataset
from seedbed.dataset.renewal import RENEWAL
from seedbed.dataset.version_tags import tagged_digest
from seedbed.driver.error_policy import errors_name_field
from seedbed.driver.job_code import code_of
from seedbed.driver.output_trust import run_folder_of, trust_of
from seedbed.driver.starting_weights import weights_of
from seedbed.driver.startup_timings import StartupTimings
from seedbed.driver.training_row_check import count_training_rows, selection_of, selects_by_key
from seedbed.environment.environment_class import environment_class, environment_document
from seedbed.environment.environment_pins import pinned_threads
from seedbed.feed import FeedKind, StreamSpec
from seedbed.feed.stream_spec import DEFAULT_CACHE_BYTES
from seedbed.ray_cluster.cluster_interface import TaskRunner, WorkerRange
from seedbed.runs.run_folder import ENVIRONMENT, RunFolder
from seedbed.storage import Storage, open_storage
from seedbed.training.initial_weights import WeightsSource
from seedbed.training.loss_mapping import require_fitting_task
from seedbed.training.recipe_mapping import (
    arithmetic_of,
    early_stopping_of,
    step_schedule_of,
    steps_of_epochs,
    transforms_of,
)
from seedbed.training.worker_config import ModelSource, WorkerConfig
from seedbed.usercode.code_source import CodeArchive
from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.errors import InfrastructureError, UserError, refusal
from seedbed_api.execution_settings import OutputTrust
from seedbed_api.run_identity import NOTHING_EXPECTED, ExpectedIdentity, resolve, run_id
from seedbed_api.trainingjob import TrainingJob

logger = logging.getLogger(__name__)

ProbedEnvironment: TypeAlias = tuple[Mapping[str, Any], str]
"""Environment document and class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Options besides the manifest; none of them is part of the run identity."""

    device: str = "cpu"
    code: Path | None = None
    """Folder of the user's code, instead of `model.code.uri`."""
    dataset_secret: Path | None = None
    """Folder with one file per credential."""
    output_secret: Path | None = None
    cache_folder: Path | None = None
    cache_bytes: int = DEFAULT_CACHE_BYTES
    shared: bool = False
    """Other runs on this node ask for the same pictures."""
    expected: ExpectedIdentity = NOTHING_EXPECTED
    probed: ProbedEnvironment | None = None
    """The environment, where this process has probed it already."""
    fetched: CodeArchive | None = None
    """The user's code where this process has fetched it already."""
    weights: WeightsSource | None = None
    """The weights to start from where this process knows their place and digest already."""
    checked_indices: str | None = None
    """`indices_digest` of the dataset where this process has checked its rows already."""
    owner_key: Path | None = None
    """File with the key of the user or namespace; without one nothing is known to be its own."""
    signature_policy: SignaturePolicy | None = None
    """Policy of the signers whose finished runs spec.output.trust: Signed accepts."""
    default_trust: OutputTrust = "Store"
    """What spec.output.trust is where the job does not say: `seedbed run` and profiles have Own."""
    keep_log: bool = False
    """Store the log in the output store; in a pod the init process does so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedRun:
    """A run that is fully determined."""

    job: TrainingJob
    options: RunOptions
    dataset: Dataset
    samples: int
    """N, the train rows after split, subset and fold."""
    code: CodeArchive | None
    weights: WeightsSource | None
    resolved: dict[str, Any]
    environment: Mapping[str, Any]
    environment_class: str
    run_id: str
    folder: RunFolder
    from_store: bool = False
    """The environment is that of a stored result, not of this machine: never train with it."""

    @property
    def is_borrowed(self) -> bool:
        """Return whether the folder is that of somebody else, whose signed result is only read."""
        return self.folder.owner is None and trust_of(self.job.spec.output, self.options) != "Store"

    @property
    def output_folder(self) -> str:
        """Return the folder of the output that has the run's folder; empty for the output itself."""
        return self.folder.below


@dataclass(frozen=True, kw_only=True, slots=True)
class _ResolvedRecipe:
    """A run without its environment class."""

    job: TrainingJob
    options: RunOptions
    dataset: Dataset
    samples: int
    code: CodeArchive | None
    weights: WeightsSource | None
    resolved: dict[str, Any]


def resolve_run(
    job: TrainingJob,
    options: RunOptions,
    timings: StartupTimings,
    *,
    cluster: TaskRunner | None = None,
    to_train: bool = False,
) -> ResolvedRun:
    """Resolve the recipe and name the run. Raises UserError for what no retry can mend; writes nothing.

    The environment is that of `cluster`, which may have to be waited for; a run that has a result in the
    expected environment is named without it, unless it is `to_train`.
    """
    draft = _draft(job, options, timings)
    complete = None if to_train else _complete(draft)
    if complete is not None:
        return complete
    environment, environment_class = _known(options, cluster) or probe_environment(options.device, cluster)
    timings.mark("EnvironmentProbed")
    return _named(draft, environment, environment_class, to_train=to_train)


def stored_run(job: TrainingJob, options: RunOptions) -> ResolvedRun | None:
    """Return the run of the expected environment class if a result of it is stored; it is not checked."""
    return _complete(_draft(job, options, StartupTimings()))


def _known(options: RunOptions, cluster: TaskRunner | None) -> ProbedEnvironment | None:
    """Return the environment that was probed before, and set up the machine that trains in the same way."""
    if options.probed is None:
        return None
    if cluster is None:
        _set_up(options.device)
    else:
        cluster.run_task(_set_up, options.device)
    return options.probed


def _set_up(device: str) -> None:
    from seedbed.arithmetic.torch_determinism import enforce_determinism  # torch takes seconds to import

    enforce_determinism(threads=pinned_threads())
    _require_device(device)


def probe_environment(device: str, cluster: TaskRunner | None = None) -> ProbedEnvironment:
    """Probe the environment of this process, or of a machine of the cluster."""
    return _environment(device) if cluster is None else cluster.run_task(_environment, device)


def _draft(job: TrainingJob, options: RunOptions, timings: StartupTimings) -> _ResolvedRecipe:
    with errors_name_field("spec.dataset.uri"):
        storage = open_storage(job.spec.dataset.uri, secret=options.dataset_secret)
        pinned = _pinned_digest(job, options, storage)
        dataset = open_dataset(storage, digest=pinned, checked_indices=options.checked_indices)
        if selects_by_key(job):
            options = replace(options, checked_indices=dataset.check_rows())
        samples = _samples(job, dataset)
    if not dataset.names_row_digests:
        logger.warning("dataset %s %s", dataset.storage.url, RENEWAL)
    timings.mark("DatasetOpened")
    code, code_digest = code_of(job, options)
    weights = options.weights or weights_of(job, options)
    digest = None if weights is None else weights.digest
    resolved = resolve(job, dataset_digest=dataset.digest, code_digest=code_digest, weights_digest=digest)
    return _ResolvedRecipe(
        job=job,
        options=options,
        dataset=dataset,
        samples=samples,
        code=code,
        weights=weights,
        resolved=resolved,
    )


def _pinned_digest(job: TrainingJob, options: RunOptions, storage: Storage) -> str | None:
    """Return the digest that the spec or an attempt before named, or else the one that a tag names now."""
    pinned = job.spec.dataset.digest or options.expected.dataset_digest
    if pinned is None and job.spec.dataset.tag is not None:
        return tagged_digest(storage, job.spec.dataset.tag, field="spec.dataset.tag")
    return pinned


def _complete(draft: _ResolvedRecipe) -> ResolvedRun | None:
    """Return the run of the expected environment class if a result of it is stored; else None."""
    expected = draft.options.expected
    if expected.environment_class is None:
        return None
    run = _named(draft, {}, expected.environment_class)
    if not run.folder.finished():
        return None
    environment = _stored_environment(run)
    return None if environment is None else replace(run, environment=environment, from_store=True)


def _stored_environment(run: ResolvedRun) -> Mapping[str, Any] | None:
    """Return the stored environment document; None where it is missing or of another class."""
    try:
        document = run.folder.read_json(ENVIRONMENT)
        same = "probe" in document and environment_class(document) == run.environment_class
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        return None
    return document if same else None


def _named(
    draft: _ResolvedRecipe, environment: Mapping[str, Any], environment_class: str, *, to_train: bool = False
) -> ResolvedRun:
    identity = run_id(
        draft.resolved, arithmetic_version=ARITHMETIC_VERSION, environment_class=environment_class
    )
    _refuse_another_run(draft, identity, environment_class)
    return ResolvedRun(
        job=draft.job,
        options=draft.options,
        dataset=draft.dataset,
        samples=draft.samples,
        code=draft.code,
        weights=draft.weights,
        resolved=draft.resolved,
        environment=environment,
        environment_class=environment_class,
        run_id=identity,
        folder=run_folder_of(draft.job, draft.options, identity, to_train=to_train),
    )


def _refuse_another_run(draft: _ResolvedRecipe, identity: str, environment_class: str) -> None:
    """Raise UserError where a retry would train something else than the attempts before it."""
    expected, found = draft.options.expected, draft.dataset.digest
    if expected.dataset_digest not in (None, found):
        fix = "restore the dataset, or create a new job"
        line = refusal(
            "spec.dataset.uri", found, f"the job began with dataset {expected.dataset_digest}", fix
        )
        raise UserError("DatasetChanged", line)
    fix = "restore image, profile and kind of node, or create a new job"
    if expected.environment_class not in (None, environment_class):
        problem = f"the job began in environment class {expected.environment_class}"
        line = refusal("status.environment.class", environment_class, problem, fix)
        raise UserError("EnvironmentChanged", line)
    if expected.run_id not in (None, identity):
        problem = f"code, weights or version of seedbed differ: the job began as run {expected.run_id}"
        raise UserError("EnvironmentChanged", refusal("status.runID", identity, problem, fix))


def _samples(job: TrainingJob, dataset: Dataset) -> int:
    require_fitting_task(job.spec, task=dataset.task, classes=len(dataset.classes))
    count = count_training_rows(job, dataset)
    step_schedule_of(job.spec, samples=count)
    subset, fold = selection_of(job)
    training = job.spec.training
    decides = training.early_stopping is not None or training.model_selection == "Best"
    if decides and not dataset.view(split="validation", subset=subset, fold=fold).count:
        problem = "has no validation rows, which earlyStopping and modelSelection: Best decide by"
        fix = "build the dataset with a validation split, or remove these fields"
        raise UserError("InvalidDataset", refusal("spec.dataset.uri", job.spec.dataset.uri, problem, fix))
    return count


def _environment(device: str) -> ProbedEnvironment:
    from seedbed.arithmetic.torch_determinism import enforce_determinism  # torch takes seconds to import

    enforce_determinism(threads=pinned_threads())
    _require_device(device)
    document = environment_document(device, arithmetic_version=ARITHMETIC_VERSION)
    return document, environment_class(document)


def _require_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        fix = "leave --device away to train on the CPU, or check the driver with nvidia-smi"
        raise InfrastructureError(
            "DeviceUnavailable", refusal("--device", device, "there is no GPU here", fix)
        )


def worker_config_of(run: ResolvedRun, *, attempt: int, workers: WorkerRange) -> WorkerConfig:
    """Return the configuration of the workers."""
    spec, options = run.job.spec, run.options
    schedule = step_schedule_of(spec, samples=run.samples)
    return WorkerConfig(
        run_id=run.run_id,
        attempt=attempt,
        output_url=spec.output.uri,
        output_secret=options.output_secret,
        output_folder=run.output_folder,
        owner_key=None if run.folder.owner is None else options.owner_key,
        resolved=run.resolved,
        environment_class=run.environment_class,
        probe=run.environment["probe"],
        device=options.device,
        model=model_of(run),
        classes=run.dataset.classes,
        samples=run.samples,
        arithmetic=arithmetic_of(
            spec.training,
            classes=run.dataset.classes,
            samples=run.samples,
            task=run.dataset.task,
            top_k=spec.evaluation.top_k,
        ),
        stream=_stream(run, total_steps=schedule.total_steps),
        feed=feed_of(spec.cluster.feed, workers),
        schedule=schedule,
        early_stopping=early_stopping_of(spec.training),
        select_best=spec.training.model_selection == "Best",
        keep_checkpoints=spec.checkpoint.keep,
    )


def pause_step(run: ResolvedRun, epochs: int | None) -> int | None:
    """Return after how many steps so many epochs have been consumed; None for no epochs: never."""
    if epochs is None:
        return None
    return steps_of_epochs(run.job.spec.training.batch, epochs, samples=run.samples)


def feed_of(wanted: str, workers: WorkerRange) -> FeedKind:
    """Return the feed: left to us, one worker decodes in its own threads, more share Ray Data's tasks."""
    if wanted == "Auto":
        return "Local" if workers.most == 1 else "RayData"
    assert wanted in ("Local", "RayData"), wanted
    return "Local" if wanted == "Local" else "RayData"


def model_of(run: ResolvedRun) -> ModelSource:
    """Return where the network comes from."""
    model = run.job.spec.model
    return ModelSource(
        name=model.name,
        args={arg.name: arg.value for arg in model.args},
        entrypoint=model.entrypoint,
        code=run.code,
        code_digest=run.resolved["model"].get("code", {}).get("digest"),
        weights=run.weights,
    )


def _stream(run: ResolvedRun, *, total_steps: int) -> StreamSpec:
    training, options = run.job.spec.training, run.options
    subset, fold = selection_of(run.job)
    return StreamSpec(
        dataset_url=run.job.spec.dataset.uri,
        digest=run.dataset.digest,
        seed=training.seed,
        leaves=training.batch.leaves,
        leaf_rows=training.batch.micro_size,
        total_steps=total_steps,
        epochs=training.epochs,
        transforms=transforms_of(training.augmentation),
        window=training.shuffle_window,
        subset=subset,
        fold=fold,
        secret=options.dataset_secret,
        cache_folder=options.cache_folder,
        cache_bytes=options.cache_bytes,
        shared=options.shared,
        checked_indices=options.checked_indices,
    )
