"""The place and the digest of the weights that a job starts from: a file, or the model of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.driver.error_policy import errors_name_field
from seedbed.driver.output_trust import owner_of, trust_of
from seedbed.driver.signed_runs import signature_problem
from seedbed.receipts import read_receipt, receipt_digest
from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.model_files import WEIGHTS
from seedbed.runs.result_file import OWNER_KIND, read_result, result_digest
from seedbed.runs.run_folder import RunFolder, open_run, run_names, run_path
from seedbed.storage import open_output, printable_url
from seedbed.storage.storage_urls import join_url
from seedbed.training.initial_weights import FIELD, WeightsSource, fetch_weights
from seedbed_api.errors import UserError, refusal
from seedbed_api.model_weights import Weights
from seedbed_api.trainingjob import TrainingJob

if TYPE_CHECKING:
    from seedbed.driver.resolve_run import RunOptions

_RUN = f"{FIELD}.run"
_DIGITS = 64


def weights_of(job: TrainingJob, options: RunOptions) -> WeightsSource | None:
    """Return where the first weights are, with their digest; None for random ones.

    A file whose digest the job names is not read here: the workers check it.
    """
    block = job.spec.model.weights
    if block is None:
        return None
    if block.run is not None:
        return _model_of_run(block, job, options)
    source = file_source(block, uri=block.uri or "", secret=options.dataset_secret)
    if source.digest is not None:
        return source
    _, digest = fetch_weights(source)
    return replace(source, digest=digest)


def file_source(block: Weights, *, uri: str, secret: Path | None) -> WeightsSource:
    """Return the source of a file, with what the block says of its tensors."""
    return WeightsSource(
        uri=uri,
        secret=secret,
        digest=block.digest,
        exclude=block.exclude,
        rename=tuple((each.match, each.to) for each in block.rename),
        strict=block.strict,
    )


def _model_of_run(block: Weights, job: TrainingJob, options: RunOptions) -> WeightsSource:
    """Return the model of a finished run; workers compare it with the digest of the receipt."""
    with errors_name_field("spec.output.uri"):
        folder = _finished_run(str(block.run), job, options)
    receipt, result = read_receipt(folder.objects), read_result(folder)
    assert result is not None, "only a finished run is chosen"
    if receipt.decided.run_id != folder.run_id or receipt_digest(receipt) != result.receipt_digest:
        raise _refused(block.run, f"{folder.url} has the receipt of another run", "restore it from a copy")
    path = f"{folder.below}/{run_path(folder.run_id)}/{WEIGHTS}".lstrip("/")
    uri = join_url(job.spec.output.uri, path)
    source = file_source(block, uri=uri, secret=options.output_secret)
    return replace(source, digest=receipt.decided.weights_digest, run=folder.run_id, field=_RUN)


def _finished_run(named: str, job: TrainingJob, options: RunOptions) -> RunFolder:
    """Return the folder of the run, where spec.output.trust lets its result be used."""
    folders = list(_folders(named, job, options))
    if not any(folder.finished() for folder in folders):
        raise _refused(named, "is not finished", "wait for its result, or name another run")
    for folder in folders:
        if _may_be_used(folder, job, options):
            return folder
    trust = trust_of(job.spec.output, options)
    problem = f"was not written by you, and spec.output.trust is {trust}"
    raise _refused(named, problem, "train it yourself, or set spec.output.trust: Store")


def _folders(named: str, job: TrainingJob, options: RunOptions) -> Iterator[RunFolder]:
    """Yield where the run may be: the owner's folders, then that of whoever wrote it first."""
    output = open_output(job.spec.output.uri, secret=options.output_secret)
    owner = owner_of(job.spec.output, options)
    below = ("",) if owner is None else ("", owner.place)
    places = [(each, output.child(each) if each else output) for each in below]
    digits = named.removeprefix("sha256:")
    if len(digits) < _DIGITS:
        names = {name for _, place in places for name in run_names(place) if name.startswith(digits)}
        digits = _only(named, sorted(names), printable_url(job.spec.output.uri))
    for each, place in places:
        yield open_run(place, f"sha256:{digits}", owner=owner, below=each)
    if owner is not None:
        yield open_run(output, f"sha256:{digits}")


def _only(named: str, names: list[str], store: str) -> str:
    if len(names) == 1:
        return names[0]
    problem = f"{len(names)} runs of {store} start with it" if names else f"{store} has no such run"
    raise _refused(named, problem, "copy one from `seedbed runs list`")


def _may_be_used(folder: RunFolder, job: TrainingJob, options: RunOptions) -> bool:
    result = read_result(folder)
    if result is None or result.run_id != folder.run_id:
        return False
    trust = trust_of(job.spec.output, options)
    if folder.owner is not None:
        evaluations = read_evaluations(folder, up_to=result.outcome.step)
        return folder.believes(OWNER_KIND, result_digest(result, evaluations))
    if trust == "Signed":
        return signature_problem(folder, options.signature_policy) is None
    return trust == "Store"


def _refused(named: object, problem: str, fix: str) -> UserError:
    return UserError("ModelError", refusal(_RUN, named, problem, fix))
