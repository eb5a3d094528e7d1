"""Lists are decoded object by object, in every form that an API server writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_operator.kube_client.client_interface import NoApiResponse
from seedbed_operator.kube_client.http_client import FIRST_PAGE, MOST_PAGE, PAGE_BYTES, next_limit
from seedbed_operator.kube_client.list_decoder import decode_list

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(
    st.dictionaries(st.text() | st.sampled_from(["metadata", "items"]), JSON, max_size=3), max_size=4
)


@given(
    OBJECTS,
    st.permutations(["kind", "apiVersion", "metadata", "items"]),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_a_list_is_what_a_whole_parse_gives(
    objects: list[dict[str, Any]], order: list[str], indent: int | None, ascii_only: bool
) -> None:
    metadata = {"resourceVersion": "7", "continue": ""}
    fields = {"kind": "L", "apiVersion": "v1", "metadata": metadata, "items": objects}
    document = {name: fields[name] for name in order}
    found = decode_list(json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="replace"))
    assert found.metadata == metadata
    expected = json.loads(json.dumps(objects, ensure_ascii=ascii_only).encode(errors="replace"))
    assert list(found.items) == expected


def test_a_list_of_nothing() -> None:
    assert list(decode_list(b'{"metadata":{"resourceVersion":"7"},"items":null}').items) == []
    assert list(decode_list(b'{"metadata":{"resourceVersion":"7"}}').items) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b'{"items":[', b"\xff", b'{"items":[{}]}', b"<html>"]
)
def test_anything_else_is_no_answer(content: bytes) -> None:
    with pytest.raises(NoApiResponse, match="cannot be read"):
        list(decode_list(content).items)


def test_a_list_that_ends_early_is_no_answer() -> None:
    whole = b'{"metadata":{"resourceVersion":"7"},"items":[{"a":1},{"b":2}]}'
    for end in range(len(whole) - 2):
        with pytest.raises(NoApiResponse):
            list(decode_list(whole[:end]).items)


def test_pages_have_about_as_many_bytes() -> None:
    assert next_limit(FIRST_PAGE, FIRST_PAGE * 5_000) == MOST_PAGE
    assert next_limit(FIRST_PAGE, FIRST_PAGE * 256 * 1024) == PAGE_BYTES // (256 * 1024)
    assert next_limit(1, 3 * PAGE_BYTES) == 1
    assert next_limit(MOST_PAGE, 0) == MOST_PAGE
