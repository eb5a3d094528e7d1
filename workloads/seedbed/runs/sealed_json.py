"""JSON documents of the run folder that carry their own digest, so that one flipped bit is found."""

from __future__ import annotations

from typing import Any, TypeAlias

from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.strict_json import parse_json

Document: TypeAlias = dict[str, Any]


def seal(document: Document) -> bytes:
    """Return the canonical JSON of a document with its digest in `digest`."""
    assert "digest" not in document
    return canonical_json({**document, "digest": digest_of(canonical_json(document))})


def open_sealed(data: bytes) -> Document:
    """Return the document of sealed bytes, without its digest; ValueError where they are damaged."""
    document = parse_json(data)  # its JSONDecodeError and UnicodeDecodeError are ValueErrors
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    bare = {key: value for key, value in document.items() if key != "digest"}
    try:
        sealed = seal(bare)
    except AssertionError as error:  # a float, which no sealed document has
        raise ValueError(str(error)) from error
    if sealed != data:
        raise ValueError("its digest does not match")
    return bare


def is_sealed(data: bytes) -> bool:
    """Say whether bytes are a sealed document without damage."""
    try:
        open_sealed(data)
    except ValueError:
        return False
    return True
