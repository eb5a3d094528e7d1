"""Manifests in, models out: every mistake of a document in one line each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seedbed_api.blocks import Block
from seedbed_api.documents import REASON, Document, parse, read_text
from seedbed_api.errors import UserError, refusal
from seedbed_api.fields import nearest
from seedbed_api.overrides import apply_overrides
from seedbed_api.refusals import mistakes
from seedbed_api.trainingjob import TrainingJob

GROUP = "seedbed.dev/"
KINDS = {
    "TrainingJob": "seedbed_api.trainingjob",
}


def model_of(kind: object) -> type[Block]:
    """Return the model of a kind; raises UserError InvalidSpec for a kind that is not ours."""
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


def validated(document: Document, where: str = "") -> Block:
    """Return the resource of a document; raises UserError InvalidSpec with one line per mistake."""
    prefix = f"{where} " if where else ""
    try:
        return model_of(document.get("kind")).model_validate(document)
    except ValidationError as error:
        lines = mistakes(error, model_of(document["kind"]))
        raise UserError(REASON, "\n".join(prefix + line for line in lines)) from None
    except UserError as error:
        raise UserError(REASON, prefix + error.message) from None


def load_training_job(source: Path | str, overrides: Iterable[str] = ()) -> TrainingJob:
    """Return the one TrainingJob of a file or text, with `path=value` overrides applied before it is checked.

    Raises UserError InvalidSpec with one line per mistake.
    """
    name = "manifest" if isinstance(source, str) and "\n" in source else str(source)
    documents = read_documents(source)
    if len(documents) != 1:
        found = f"holds {len(documents)} documents where one TrainingJob is expected"
        raise UserError(REASON, f"{name}: {found}; split the file")
    return training_job(apply_overrides(documents[0], overrides), f"{name}:1")


def training_job(document: dict[str, Any], where: str = "") -> TrainingJob:
    """Return the TrainingJob of a document; raises UserError InvalidSpec with one line per mistake."""
    if document.get("kind") != "TrainingJob":
        prefix = f"{where} " if where else ""
        line = refusal(
            "kind", document.get("kind"), "must be TrainingJob", "name a manifest of a TrainingJob"
        )
        raise UserError(REASON, prefix + line)
    job = validated(document, where)
    assert isinstance(job, TrainingJob)
    return job
