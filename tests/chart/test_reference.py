"""What the chart repeats from elsewhere is as `make generate` writes it; values, comments and schema agree."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest
import yaml

import generate
from chart.rendering import CHART, Json

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
FREE = {"global", "profiles", "priorityClasses"}
"""Objects whose keys are the user's, and what Helm itself adds."""


@pytest.mark.parametrize("path", generate.generated(), ids=lambda path: path.name)
def test_generated_files_are_committed_as_generated(path) -> None:
    assert path.read_text(encoding="utf-8") == generate.generated()[path], "run `make generate`"


def test_every_value_is_described() -> None:
    comments = generate.descriptions(VALUES)
    assert list(generate.undocumented(yaml.safe_load(VALUES), comments)) == []
    assert all(text.endswith(".") for text in comments.values())


def test_a_value_without_a_comment_is_noticed() -> None:
    plain = VALUES.replace("  # -- Tag of the image; the chart's appVersion when left empty.\n", "")
    assert plain != VALUES
    assert list(generate.undocumented(yaml.safe_load(plain), generate.descriptions(plain))) == ["image.tag"]


def test_schema_and_values_have_the_same_keys() -> None:
    described = set(generate.descriptions(VALUES))
    assert {path for path in keys(SCHEMA) if path not in FREE} == described - FREE
    assert {path for path, part in parts(SCHEMA) if "description" in part} == described


def test_every_object_of_the_schema_is_closed_or_the_users() -> None:
    open_ones = {
        path for path, part in parts(SCHEMA) if "properties" in part and part["additionalProperties"]
    }
    assert open_ones == set()


def test_defaults_satisfy_the_schema() -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(yaml.safe_load(VALUES))


def test_a_profile_is_as_its_definition_has_it() -> None:
    definition = generate.definitions()["trainingprofiles.yaml"]["spec"]["versions"][0]["schema"]
    spec = definition["openAPIV3Schema"]["properties"]["spec"]
    assert set(SCHEMA["properties"]["profiles"]["additionalProperties"]["properties"]) == set(
        spec["properties"]
    )


def keys(schema: Json) -> Iterator[str]:
    """Yield the paths of the values that are no folders of values."""
    return (path for path, part in parts(schema) if "properties" not in part)


def parts(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield each part of the schema of values, without what is inside a profile."""
    for name, part in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        yield here, part
        yield from parts(part, here)
