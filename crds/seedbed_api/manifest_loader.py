"""Loads manifests into models; each mistake of a document is one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from seedbed_api.base_model import Block, block_in
from seedbed_api.errors import UserError, refusal
from seedbed_api.field_lookup import named_fields, nearest
from seedbed_api.overrides import apply_overrides
from seedbed_api.trainingjob import TrainingJob
from seedbed_api.validation_errors import error_lines
from seedbed_api.yaml_documents import REASON, Document, parse, read_text

if TYPE_CHECKING:
    from seedbed_api.sweepjob import SweepJob

GROUP = "seedbed.dev"
KINDS = {
    "TrainingJob": "seedbed_api.trainingjob",
    "SweepJob": "seedbed_api.sweepjob",
    "TrainingProfile": "seedbed_api.trainingprofile",
}


def model_of(kind: object) -> type[Block]:
    """Return the model of a kind; raises UserError InvalidSpec for an unknown one."""
    if not isinstance(kind, str) or kind not in KINDS:
        fix = nearest(kind, KINDS) if isinstance(kind, str) else f"write one of {', '.join(KINDS)}"
        raise UserError(REASON, refusal("kind", kind, "is not a kind of seedbed.dev", fix))
    model = getattr(import_module(KINDS[kind]), kind)
    assert issubclass(model, Block)
    return model  # type: ignore[no-any-return]


def read_documents(source: Path | str) -> list[Document]:
    """Return the documents of a file, or of a text where the string holds a line break."""
    if isinstance(source, str) and "\n" in source:
        return parse(source, "manifest")
    return parse(read_text(Path(source)), str(source))


def is_seedbed_resource(document: Document) -> bool:
    """Return whether a document is, or is meant to be, a resource of seedbed.dev."""
    group = str(document.get("apiVersion", "")).partition("/")[0]
    return group == GROUP or document.get("kind") in KINDS or "apiVersion" not in document


def validate_document(document: Document, where: str = "") -> Block:
    """Return the resource of a document; raises UserError InvalidSpec with one line per mistake."""
    prefix = f"{where} " if where else ""
    try:
        return _resource(document)
    except UserError as error:
        message = "\n".join(prefix + line for line in error.message.splitlines())
        raise UserError(error.reason, message) from None


def unknown_status_fields(resource: Block, status: object) -> Iterator[str]:
    """Yield a line for each field of a status that its kind does not have."""
    field = type(resource).model_fields.get("status")
    block = None if field is None else block_in(field.annotation)
    if block is not None and status is not None:
        yield from _unknown_below(block, status, "status")


def _unknown_below(block: type[Block], value: object, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unknown_below(block, entry, f"{path}[{index}]")
    elif isinstance(value, dict):
        known = named_fields(block)
        for name, entry in value.items():
            below = f"{path}.{name}"
            inner = block_in(known[name].annotation) if name in known else None
            if name not in known:
                yield refusal(below, entry, "is not a field", nearest(name, known))
            elif inner is not None:
                yield from _unknown_below(inner, entry, below)


def _resource(document: Document) -> Block:
    model = model_of(document.get("kind"))
    try:
        resource = model.model_validate(document)
    except ValidationError as error:
        raise UserError(REASON, "\n".join(error_lines(error, model))) from None
    if lines := _impossible_trials(resource):
        raise UserError(REASON, "\n".join(lines))
    return resource


def _impossible_trials(resource: Block) -> list[str]:
    if type(resource).__name__ != "SweepJob":
        return []
    from seedbed_api.sweepjob import SweepJob
    from seedbed_api.trial_recipe import impossible_trials

    assert isinstance(resource, SweepJob)
    return impossible_trials(resource.spec)


def load_training_job(source: Path | str, overrides: Iterable[str] = ()) -> TrainingJob:
    """Return the one TrainingJob of a file or text, with `path=value` overrides applied before it is checked.

    Raises UserError InvalidSpec with one line per mistake.
    """
    document, place = read_document(source, wanted="TrainingJob")
    return training_job(apply_overrides(document, overrides), place)


def read_document(source: Path | str, *, wanted: str) -> tuple[Document, str]:
    """Return the only document of a file or text, unchecked, and its place for messages."""
    name = "manifest" if isinstance(source, str) and "\n" in source else str(source)
    documents = read_documents(source)
    if len(documents) != 1:
        found = f"holds {len(documents)} documents where one {wanted} is expected"
        raise UserError(REASON, f"{name}: {found}; split the file")
    return documents[0], f"{name}:1"


def sweep_job(document: dict[str, Any], where: str = "") -> SweepJob:
    """Return the SweepJob of a document; raises UserError InvalidSpec with one line per mistake."""
    sweep = validate_document(document, where)
    assert type(sweep).__name__ == "SweepJob", "the caller has looked at the kind"
    return cast("SweepJob", sweep)


def training_job(document: dict[str, Any], where: str = "") -> TrainingJob:
    """Return the TrainingJob of a document; raises UserError InvalidSpec with one line per mistake."""
    if document.get("kind") != "TrainingJob":
        prefix = f"{where} " if where else ""
        line = refusal(
            "kind", document.get("kind"), "must be TrainingJob", "name a manifest of a TrainingJob"
        )
        raise UserError(REASON, prefix + line)
    job = validate_document(document, where)
    assert isinstance(job, TrainingJob)
    return job


def any_job(document: dict[str, Any], where: str = "") -> TrainingJob | SweepJob:
    """Return the job of a document; raises UserError InvalidSpec with one line per mistake."""
    return sweep_job(document, where) if document.get("kind") == "SweepJob" else training_job(document, where)
