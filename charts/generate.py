"""Write what the chart repeats from elsewhere: `python charts/generate.py`.

The definitions come from crds/, the descriptions of values from the comments in values.yaml, the schema of
a profile from its model. Types of values are kept by hand in values.schema.json; descriptions are filled in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import alerts
import metrics_reference
from dashboards import dashboard_files
from seedbed_api.crd_generator import definitions, rendered
from seedbed_api.openapi_schema import structural_schema
from seedbed_api.trainingprofile import TrainingProfileSpec

CHART = Path(__file__).parent / "seedbed"
Json = dict[str, Any]
_KEY = re.compile(r"^( *)([A-Za-z]\w*):")
_TABLE = re.compile(r"(<!-- values -->\n).*?(<!-- end of values -->)", re.DOTALL)


def main() -> None:
    """Write every generated file of the chart."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def generated() -> dict[Path, str]:
    """Return the text of every generated file of the chart."""
    files = {CHART / "files/crds" / name: rendered(content) for name, content in definitions().items()}
    files |= dashboard_files.generated() | {alerts.FILE: alerts.rendered()}
    files[metrics_reference.FILE] = metrics_reference.rendered()
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    files[CHART / "files/values.yaml"] = (
        f"# Written by `make generate` from values.yaml.\n{uncommented(values)}"
    )
    comments = descriptions(values)
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    files[CHART / "values.schema.json"] = (
        json.dumps(described(schema, comments), indent=2, ensure_ascii=False) + "\n"
    )
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    files[CHART / "README.md"] = _TABLE.sub(lambda found: found[1] + table(comments) + found[2], readme)
    return files


def uncommented(values: str) -> str:
    """Return values without comments: templates read them as defaults."""
    head = "# Written by `make generate` from values.yaml.\n"
    return head + yaml.safe_dump(yaml.safe_load(values), sort_keys=False)


def descriptions(values: str) -> dict[str, str]:
    """Return the comment above each value, by the value's path; a block without one is only a folder."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in values.splitlines():
        if line.lstrip().startswith("#"):
            text = line.lstrip().removeprefix("#").strip()
            comment = [text.removeprefix("--").strip()] if text.startswith("--") else [*comment, text]
            continue
        if key := _KEY.match(line):
            path = [*(step for step in path if step[0] < len(key[1])), (len(key[1]), key[2])]
            if comment:
                found[".".join(name for _, name in path)] = " ".join(comment)
        comment = []
    return found


def described(schema: Json, comments: dict[str, str], path: str = "") -> Json:
    """Return the schema with the comments as descriptions, and with a profile as its model has it."""
    if path == "profiles":
        schema = {**schema, "additionalProperties": closed(structural_schema(TrainingProfileSpec))}
    filled = {key: value for key, value in schema.items() if key not in ("description", "properties")}
    if path in comments:
        filled = {"description": comments[path], **filled}
    if "properties" in schema:
        inner = schema["properties"].items()
        filled["properties"] = {
            name: described(part, comments, f"{path}.{name}".lstrip(".")) for name, part in inner
        }
    return filled


def closed(schema: Json) -> Json:
    """Return a structural schema as JSON Schema that refuses unknown fields."""
    kept = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    kept.pop("format", None)
    if "items" in kept:
        kept["items"] = closed(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: closed(part) for name, part in kept["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def table(comments: dict[str, str]) -> str:
    """Return the table of the values with their defaults."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, text in comments.items():
        rows.append(f"| `{path}` | {_cell(value_at(values, path))} | {text} |")
    return "\n".join(rows) + "\n"


def value_at(values: Json, path: str) -> Any:
    """Return the default of a value."""
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


def undocumented(values: Json, comments: dict[str, str], path: str = "") -> Iterator[str]:
    """Yield the values that no comment describes."""
    for name, value in values.items():
        here = f"{path}.{name}".lstrip(".")
        if here in comments:
            continue
        if isinstance(value, dict) and value:
            yield from undocumented(value, comments, here)
        else:
            yield here


def _cell(value: Any) -> str:
    text = json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


if __name__ == "__main__":
    main()
