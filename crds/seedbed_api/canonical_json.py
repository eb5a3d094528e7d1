"""Canonical JSON (RFC 8785) and digests over it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """Return the canonical encoding of a JSON value; floats and integers beyond 2^53 are rejected."""
    _refuse_floats(value)
    return rfc8785.dumps(value)


def digest_of(content: bytes) -> str:
    """Return sha256:<hex> of bytes."""
    return f"sha256:{sha256(content).hexdigest()}"


def _refuse_floats(value: Any) -> None:
    assert not isinstance(value, float), "fractions are strings: as floats they have many spellings"
    if isinstance(value, dict | list | tuple):
        for entry in value.values() if isinstance(value, dict) else value:
            _refuse_floats(entry)
