"""JSON of strangers: a value or a ValueError of one line, whatever the bytes are; and who still parses without it."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_api.strict_json import MOST_DEPTH, parse_json

REPOSITORY = Path(__file__).parents[3]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=JSON)
def test_what_json_writes_is_read_again(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (nested(MOST_DEPTH + 2), "nested more than 64 deep"),
        (nested(100_000), "nested more than 64 deep"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "nested more than 64 deep"),
        ('{"a": 1, "a": 2}', "a key twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "a key twice"),
        ("NaN", "NaN is no JSON"),
        ('{"loss": -Infinity}', "-Infinity is no JSON"),
        ("1e999", "a number is too large"),
        ("9" * 41, "a number has 41 digits"),
        ("9" * 5_000, "a number has 5000 digits"),
        ('"\\ud800"', "a lone surrogate"),
        ('{"\\udfff": 1}', "a lone surrogate"),
        (b"\xff\xfe", "can't decode byte"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"", "Expecting value"),
        ("{} {}", "Extra data"),
        ("{'a': 1}", "Expecting property name"),
        ("[1,]", "Expecting value|Illegal trailing comma"),
    ],
)
def test_what_is_no_json_is_one_line(data: bytes | str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_json(data)
    assert "\n" not in str(caught.value)


def test_what_is_larger_than_its_bound_is_not_parsed() -> None:
    assert parse_json("[1, 2]", most_bytes=6) == [1, 2]
    with pytest.raises(ValueError, match="it has 7 bytes, more than 6"):
        parse_json("[1,  2]", most_bytes=6)


@given(
    data=st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0123d89eE+-.NaInfity truefalsn', max_size=60)
)
def test_any_bytes_are_a_value_or_a_value_error(data: bytes | str) -> None:
    try:
        value = parse_json(data)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert not isinstance(value, float) or math.isfinite(value)


PARSED_OTHERWISE = {
    "crds/seedbed_api/strict_json.py": "this is it",
    "crds/seedbed_api/yaml_documents.py": "manifests, with bounds of their own",
    "workloads/seedbed/dataset/file_format.py": "its own document, written a moment before",
    "workloads/seedbed/training/rank_agreement.py": "sealed messages between ranks",
    "workloads/seedbed/training/checkpointer.py": "sealed messages between ranks",
    "workloads/seedbed/replay/recomputation.py": "sealed messages between ranks",
    "workloads/seedbed/feed/io_counters.py": "from a process of its own",
    "workloads/seedbed/feed/arrow_codec.py": "from a process of its own",
    "workloads/seedbed/mlflow/mlflow_entries.py": "from a process of its own",
    "workloads/seedbed/mlflow/subprocess_client.py": "from a process of its own",
    "workloads/seedbed/cli/standard_streams.py": "lines that the program wrote itself",
    "workloads/seedbed/pods/init_process.py": "an environment variable that the operator wrote",
    "operator/seedbed_operator/informer_cache/object_views.py": "what the API server parsed before",
    "operator/seedbed_operator/kube_client/http_client.py": "answers of the API server",
    "operator/seedbed_operator/kube_client/list_decoder.py": "answers of the API server",
}
"""Modules that call `json.loads`, and why."""


def modules_with_json_loads() -> set[str]:
    found = set()
    for package in ("crds/seedbed_api", "operator/seedbed_operator", "workloads/seedbed"):
        for path in (REPOSITORY / package).rglob("*.py"):
            names = {
                node.attr
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "json"
            }
            if names & {"loads", "load", "JSONDecoder"}:
                found.add(str(path.relative_to(REPOSITORY)))
    return found


def test_bytes_of_strangers_are_parsed_strictly() -> None:
    assert modules_with_json_loads() == set(PARSED_OTHERWISE)
