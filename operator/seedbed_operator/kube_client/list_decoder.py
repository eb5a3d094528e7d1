"""Decode a list of the API server one object at a time.

A page of large objects that is parsed at once takes ten times its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from seedbed_operator.kube_client.client_interface import NoApiResponse, RawObject

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()
_METADATA: Final = '"metadata":'


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedList:
    """The metadata of a list, and its objects as they are decoded."""

    metadata: RawObject
    items: Iterator[RawObject]


def decode_list(content: bytes) -> DecodedList:
    """Return a decoded list; raise NoApiResponse where the content is no list, or ends early."""
    try:
        return _decoded(content.decode())
    except (ValueError, KeyError) as error:
        raise _no_list(error) from error


def _no_list(error: Exception) -> NoApiResponse:
    return NoApiResponse(f"a list of the API server cannot be read: {error}")


def _decoded(text: str) -> DecodedList:
    metadata, start = _head(text)
    if start is None:
        return DecodedList(metadata=metadata or {}, items=iter(()))
    if metadata is None:
        metadata = _tail(text)
    if metadata is None:  # a form that no API server writes: all of it is parsed at once
        whole = json.loads(text)
        return DecodedList(metadata=whole["metadata"], items=iter(whole["items"] or ()))
    return DecodedList(metadata=metadata, items=_items(text, start))


def _head(text: str) -> tuple[RawObject | None, int | None]:
    """Return the metadata if it comes before the objects, and where these begin; None without any."""
    metadata, at = None, _expect(text, 0, "{")
    while text[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _expect(text, _skip(text, at), ":")
        if name == "items" and text[at : at + 1] == "[":
            return metadata, at + 1
        value, at = _DECODER.raw_decode(text, at)
        metadata = value if name == "metadata" else metadata
        at = _skip(text, at)
        at = _expect(text, at, ",") if text[at : at + 1] == "," else at
    return metadata, None


def _tail(text: str) -> RawObject | None:
    """Return the metadata if it is the last field of the list, as of custom resources."""
    at = text.rfind(_METADATA)
    if at < 0:
        return None
    value, end = _DECODER.raw_decode(text, _skip(text, at + len(_METADATA)))
    found: RawObject | None = value if text[end:].strip() == "}" else None
    return found


def _items(text: str, at: int) -> Iterator[RawObject]:
    try:
        at = _skip(text, at)
        while text[at : at + 1] != "]":
            item: Any
            item, at = _DECODER.raw_decode(text, at)
            yield item
            del item  # before the next one is decoded
            at = _skip(text, at)
            at = _expect(text, at, ",") if text[at : at + 1] == "," else at
    except ValueError as error:
        raise _no_list(error) from error


def _expect(text: str, at: int, character: str) -> int:
    """Return where the next token begins behind a character."""
    at = _skip(text, at)
    if text[at : at + 1] != character:
        raise ValueError(f"{character} expected at {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None, "it matches nothing too"
    return found.end()
