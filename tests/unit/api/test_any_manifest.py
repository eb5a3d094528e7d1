"""Whatever a manifest holds: a line for a person or a resource, and never more than the schema allows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from seedbed_api.crd_generator import definitions
from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import validate_document
from seedbed_api.yaml_documents import without_nulls
from support.manifests.base_manifests import BASES
from support.manifests.validation_cases import CASES

SCHEMAS = {
    definition["spec"]["names"]["kind"]: Draft202012Validator(
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    )
    for definition in definitions().values()
}
MANIFESTS = [case.manifest() for case in CASES.values() if case.line is None]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.sampled_from(["", "0", "0.1", "1e-1", "-1", "SGD", "Cosine", "a\nb", "ü", "x" * 5000, "{}", "%s"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "size", "%d", "in", "a\nb", "y" * 2000]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in a document."""
    entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, entry in entries:
        yield (*path, key)
        if isinstance(entry, dict | list):
            yield from places(entry, (*path, key))


@st.composite
def spoilt_manifests(draw: st.DrawFn) -> dict[str, Any]:
    document = copy.deepcopy(draw(st.sampled_from(MANIFESTS)))
    for _ in range(draw(st.integers(1, 2))):
        *parents, last = draw(st.sampled_from(list(places(document))))
        place: Any = document
        for name in parents:
            place = place[name]
        place[last] = draw(VALUES)
    cleaned = without_nulls(document)
    assert isinstance(cleaned, dict)
    return cleaned


@settings(deadline=None, max_examples=120)
@given(spoilt_manifests())
def test_a_spoilt_manifest_is_refused_in_lines_or_accepted_by_the_schema_too(
    document: dict[str, Any],
) -> None:
    try:
        resource = validate_document(document, "job.yaml:1")
    except UserError as error:
        lines = error.message.split("\n")
        assert all(line.startswith("job.yaml:1 ") and "; " in line for line in lines), lines
        assert all(len(line) < 1000 for line in lines), lines
        return
    assert not list(SCHEMAS[document["kind"]].iter_errors(document))
    assert validate_document(resource.plain()) == resource


def test_the_bases_themselves_are_accepted() -> None:
    for kind, document in BASES.items():
        assert validate_document(copy.deepcopy(document)).plain()["kind"] == kind
