"""Documents as people write them, and what kubectl makes of each: unit tests and a real API server use one table.

The values are those of `kubectl apply --dry-run=server`; `tests/cluster/test_documents.py` asks it again.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

PLAIN = """apiVersion: seedbed.dev/v1alpha1
kind: TrainingJob
metadata:
  name: odd
spec:
  dataset: {uri: s3://data/x}
  model: {name: resnet18}
  training:
    steps: 6
    seed: 1
    batch: {globalSize: 8, microSize: 4}
    optimizer: {type: SGD, learningRate: "0.1"}
    augmentation:
    - {type: Resize, resize: {size: 32}}
  output: {uri: s3://runs/x}
  suspend: true
"""
STEPS: dict[str, int | None] = {
    **{
        "6": 6,
        "6.0": 6,
        "6.": 6,
        ".6e1": 6,
        "1e1": 10,
        "1.5e1": 15,
        "1E+1": 10,
        "+6": 6,
        "1_0": 10,
        "&a 6": 6,
    },
    **{
        "010": 8,
        "0o10": 8,
        "08": 8,
        "0_10": 8,
        "0x10": 16,
        "+0x10": 16,
        "0b101": 5,
        "-0b1": None,
        "0x1p4": None,
    },
    **{'"6"': None, '!!int "6"': 6, "!!float 6": 6, "!!str 6": None, "!!bool yes": None, "!!int six": None},
    **{
        "6.5": None,
        "1:30": None,
        "1:30.5": None,
        "2020-01-01": None,
        "1,000": None,
        "\u00a06": None,
        "yes": None,
    },
    **{
        "null": None,
        "~": None,
        "": None,
        ".inf": None,
        ".nan": None,
        "1e400": None,
        "-0": None,
        "-0.0": None,
    },
    **{"99999999999999999999": None, "18446744073709551615": None},
    **{"\t6": 6, "6\t": 6, "6 # six": 6, "6\t# six": 6, "6\n    steps: 7": 7},
}
"""What stands after `steps:`, and the number that is taken; None where the document is refused."""
RATES: dict[str, str | None] = {
    **{
        "0.1": None,
        "1e-1": None,
        "1": None,
        "010": None,
        "1:30": None,
        "2020-01-01": None,
        "yes": None,
        "y": None,
    },
    **{"!!str 0.1": "0.1", "!!binary MC4x": "0.1", "!!float 0.1": None, "'0.1'": "0.1", "!rate 0.1": "0.1"},
}
SUSPENDED: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF"), False),
    **dict.fromkeys(("1", "0", '"true"', "!!str true", "t", "tRue", "oN"), None),
    **{"null": False, "": False},
}
_JSON = json.dumps(yaml.safe_load(PLAIN))
_OTHER = PLAIN.replace("odd", "odder")


def _with(old: str, new: str) -> str:
    assert old in PLAIN, old
    return PLAIN.replace(old, new)


def _metadata(lines: str) -> str:
    return _with("  name: odd\n", f"  name: odd\n{lines}")


def _listed(kind: str, *items: str) -> str:
    head = f"apiVersion: {'v1' if kind == 'List' else 'seedbed.dev/v1alpha1'}\nkind: {kind}\nitems:\n"
    return head + "".join("- " + item.rstrip("\n").replace("\n", "\n  ") + "\n" for item in items)


TAKEN: dict[str, str] = {
    "a byte order mark": "\ufeff" + PLAIN,
    "lines of Windows": PLAIN.replace("\n", "\r\n"),
    "lines of an old Mac": PLAIN.replace("\n", "\r"),
    "a tab within braces": _with("{name: resnet18}", "{\tname: resnet18\t}"),
    "a comma too many": _with("{name: resnet18}", "{name: resnet18,}"),
    "a key twice at the top": PLAIN + "kind: TrainingJob\n",
    "a key twice within braces": _with("{name: resnet18}", "{name: resnet34, name: resnet18}"),
    "a label twice": _metadata("  labels: {a: b, a: c}\n"),
    "keys that are numbers and flags": _metadata("  labels: {1: b, 1.50: c, yes: d}\n"),
    "a label without value": _metadata("  labels: {a: null}\n"),
    "a time that nobody has set": _metadata("  creationTimestamp: null\n"),
    "what a dump holds": _metadata(
        "  uid: x\n  resourceVersion: '1'\n  generation: 4\n  managedFields: []\n"
    ),
    "an emoji": _metadata('  annotations: {a: "\U0001f600"}\n'),
    "an unknown field that is empty": PLAIN + "  foo: null\n",
    "an optional field that is empty": PLAIN + "  backoffLimit: null\n",
    "a status, which is dropped": PLAIN + "status: {attempts: x}\n",
    "an anchor and an alias": _with("{uri: s3://data/x}", "&d {uri: s3://data/x}").replace(
        "{uri: s3://runs/x}", "*d"
    ),
    "a merge": _with("  output:", "  <<: {suspend: false}\n  output:"),
    "a list of merges": _with("  output:", "  <<: [{suspend: false}]\n  output:"),
    "a merge that is overridden": _with("output: {uri", "output: {<<: {uri: s3://o}, uri"),
    "an unknown tag of a block": _with("model: {", "model: !mine {"),
    "two documents": PLAIN + "---\n" + _OTHER,
    "a comment behind the line between": PLAIN + "--- # hello\n" + _OTHER,
    "empty documents around": "---\n---\n" + PLAIN + "---\n---\n",
    "an end marker": PLAIN + "...\n",
    "text behind an end marker, which is not read": PLAIN + "...\n}{",
    "JSON": _JSON,
    "JSON with tabs": json.dumps(yaml.safe_load(PLAIN), indent="\t"),
    "JSON with a byte order mark": "\ufeff" + _JSON,
    "JSON with a key twice": _JSON[:-1] + ', "kind": "TrainingJob"}',
    "JSON with a comma too many, which is YAML": _JSON[:-1] + ",}",
    "JSON with a float": _JSON.replace('"steps": 6', '"steps": 6.0'),
    "JSON with an exponent": _JSON.replace('"steps": 6', '"steps": 0.6e1'),
    "JSON documents in a row": _JSON + "\n" + _JSON.replace("odd", "odder"),
    "JSON documents with a line between": _JSON + "\n---\n" + _JSON.replace("odd", "odder"),
    "a list": _listed("List", PLAIN),
    "a list of ours": _listed("TrainingJobList", PLAIN),
    "a list of ours whose entries do not say their kind": _listed(
        "TrainingJobList", PLAIN.partition("kind: TrainingJob\n")[2]
    ),
    "a list of two": _listed("List", PLAIN, _OTHER),
    "a scalar on a line of its own": _with("uri: s3://runs/x", "uri:\n      s3://runs/x"),
    "no space after a quoted key": _with("{uri: s3://data/x}", '{"uri":"s3://data/x"}'),
    "a key without value": _with("{name: resnet18}", "{name: resnet18, code}"),
    "a deeper list": _with("    - {type", "      - {type"),
}
"""Documents that kubectl takes, by what is odd about them."""

REFUSED: dict[str, str] = {
    "a tab as indentation": _with("    steps", "\tsteps"),
    "a tab on a blank line": _with("  output", "\t\n  output"),
    "a tab before a comment": _with("  output", "\t# hi\n  output"),
    "a second spec that is empty": PLAIN + "spec: {}\n",
    "a label that is a flag": _metadata("  labels: {a: true}\n"),
    "a label that is a number": _metadata("  labels: {a: 1}\n"),
    "a label with a blank": _metadata("  labels: {a: 'b c'}\n"),
    "a label whose key has a blank": _metadata("  labels: {'a b': c}\n"),
    "a key that is null": _metadata("  labels: {null: b}\n"),
    "a key that is a list": PLAIN + "? [a]\n: b\n",
    "an annotation that is a number": _metadata("  annotations: {a: 1}\n"),
    "a name that is a number": _with("name: odd", "name: 12"),
    "a name that is a flag": _with("name: odd", "name: no"),
    "a name that is a date": _with("name: odd", "name: 2020-01-01"),
    "no name": _with("  name: odd\n", "  labels: {}\n"),
    "a name to be chosen": _with("  name: odd", "  generateName: odd-"),
    "an owner without uid": _metadata("  ownerReferences: [{apiVersion: v1, kind: Pod, name: x}]\n"),
    "no metadata": _with("metadata:\n  name: odd\n", "metadata:\n"),
    "an unknown field of metadata": _metadata("  nam: x\n"),
    "an unknown field at the top": PLAIN + "spek: {}\n",
    "an unknown field of a block": _with("    seed: 1\n", "    seed: 1\n    epoch: 1\n"),
    "an unknown field of the status": PLAIN + "status: {foo: 1}\n",
    "a field in another case": _with("globalSize", "globalsize"),
    "a kind in another case": _with("kind: TrainingJob", "kind: trainingjob"),
    "another version": _with("v1alpha1", "v2"),
    "an alias of nothing": _with("{name: resnet18}", "*x"),
    "a required field that is empty": _with("output: {uri: s3://runs/x}", "output: null"),
    "an entry that is empty": _with("    - {type: Resize", "    - null\n    - {type: Resize"),
    "a value behind the line between": "--- {}\n" + PLAIN,
    "a document behind the line between": "--- " + PLAIN,
    "a line between within a string": _with("uri: s3://data/x", 'uri: "s3://data\n---\nx"'),
    "a directive": "%YAML 1.1\n---\n" + PLAIN,
    "a directive of a tag": "%TAG ! tag:x,2000:\n---\n" + PLAIN,
    "nothing": "",
    "a comment alone": "# nothing\n",
    "null": "null\n",
    "a word": "hello\n",
    "a list at the top": "- a\n- b\n",
    "JSON with a comment": "// x\n" + _JSON,
    "a list without entries": _listed("List"),
    "an empty list": "apiVersion: v1\nkind: List\nitems: []\n",
    "a list without items": "apiVersion: v1\nkind: List\n",
    "a list of a list": _listed("List", _listed("List", PLAIN)),
    "a list of a number": _listed("List", "5"),
    "a list with a bad entry": _listed("List", PLAIN, _with("seed: 1", "seed: x").replace("odd", "odder")),
    "a control character": _with("s3://data/x", "s3://data/\x07x"),
    "a control character, escaped": _with("s3://data/x", '"s3://data/\\x07x"'),
    "half a character": _metadata('  annotations: {a: "\\ud800"}\n'),
    "a reserved sign": _with("resnet18", "@x"),
    "a colon within braces": _with("{uri: s3://data/x}", "{uri: a: b}"),
    "no space after a key": _with("{uri: s3://data/x}", "{uri:s3://data/x}"),
    "a list that begins a column early": _with("    seed: 1", "     seed: 1"),
}
"""Documents that kubectl refuses."""


def with_steps(text: str) -> str:
    """Return the plain document with another text after `steps:`."""
    return _with("steps: 6", f"steps: {text}")


def with_rate(text: str) -> str:
    """Return the plain document with another text after `learningRate:`."""
    return _with('"0.1"', text)


def with_suspend(text: str) -> str:
    """Return the plain document with another text after `suspend:`."""
    return _with("suspend: true", f"suspend: {text}")


def every_document() -> dict[str, tuple[str, bool]]:
    """Return all documents by name, each with whether kubectl takes it."""
    cases: dict[str, tuple[str, bool]] = {}
    tables: list[tuple[str, Any, dict[Any, Any]]] = [
        ("steps", with_steps, STEPS), ("learningRate", with_rate, RATES), ("suspend", with_suspend, SUSPENDED)
    ]  # fmt: skip
    for field, write, values in tables:
        cases |= {f"{field}: {text!r}": (write(text), value is not None) for text, value in values.items()}
    cases |= {name: (text, True) for name, text in TAKEN.items()}
    return cases | {name: (text, False) for name, text in REFUSED.items()}
