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
    if seal({key: value for key, value in document.items() if key != "digest"}) != data:
        raise ValueError("its digest does not match")
    return {key: value for key, value in document.items() if key != "digest"}


def is_sealed(data: bytes) -> bool:
    """Say whether bytes are a sealed document without damage."""
    try:
        open_sealed(data)
    except (ValueError, AssertionError):
        return False
    return True
