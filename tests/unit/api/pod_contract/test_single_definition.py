"""Names and values of the pod contract are written down in the contract alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed_api.pod_contract import driver_endpoint, env_vars, labels, paths

ROOT = Path(__file__).parents[4]
SOURCES = ("crds/seedbed_api", "operator/seedbed_operator", "workloads/seedbed")
CONTRACT = ROOT / "crds/seedbed_api/pod_contract"

OF_OTHERS = {
    "workloads/seedbed/ray_cluster/local_ray.py": "a Ray of one machine, without tokens, on the loopback",
    "workloads/seedbed/startup/ray_environment.py": "a Ray that a process starts, with a token of its own",
    "workloads/seedbed/replay/multiprocess_recomputation.py": "gloo of one machine",
}
"""Files that use variables of Ray or gloo for something else than a pod."""
COMMON_PATHS = {driver_endpoint.METRICS_PATH, driver_endpoint.HEALTH_PATH}
"""The operator's own endpoint has them too."""


def contract_literals() -> dict[str | int, str]:
    """Return each literal of the contract that could be meant nowhere else, with its name."""
    found: dict[str | int, str] = {}
    for module in (env_vars, labels, paths, driver_endpoint):
        for name, value in vars(module).items():
            telling = isinstance(value, str) and ("/" in value or "_" in value or "-" in value)
            if name.isupper() and (telling or isinstance(value, int)) and value not in COMMON_PATHS:
                found[value] = f"{module.__name__.rpartition('.')[2]}.{name}"
    return found


LITERALS = contract_literals()
PATTERN = re.compile(
    rf"(?<![\w./-])(?:{'|'.join(map(re.escape, sorted(map(str, LITERALS), key=len, reverse=True)))})(?![\w-])"
)


def literals_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and literal for each literal of the contract in Python code, docstrings left out."""
    if not PATTERN.search(source):
        return
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings or isinstance(node.value, bool):
            continue
        if isinstance(node.value, str | int):
            for match in PATTERN.finditer(str(node.value)):
                yield node.lineno, match[0]


def repeated() -> Iterator[str]:
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = str(file.relative_to(ROOT))
            if file.is_relative_to(CONTRACT) or path in OF_OTHERS:
                continue
            for line, literal in literals_in(file.read_text()):
                yield f"{path}:{line}: {literal} is {LITERALS.get(literal) or LITERALS[int(literal)]}"


def test_no_literal_of_the_contract_is_repeated() -> None:
    assert list(repeated()) == []


def test_templates_of_the_chart_use_labels_and_port_of_the_contract() -> None:
    templates = ROOT / "charts/seedbed/templates"
    text = "".join(file.read_text() for file in sorted(templates.iterdir()))
    assert set(re.findall(r"seedbed\.dev/[a-z][-a-z]+(?![-\w/])", text)) == {labels.ROLE_LABEL}
    ports = re.findall(r"port: (\d+)", (templates / "networkpolicies.yaml").read_text())
    assert {int(port) for port in ports} == {driver_endpoint.PROGRESS_PORT}


@pytest.mark.parametrize("path", OF_OTHERS)
def test_files_with_other_uses_still_have_them(path: str) -> None:
    assert list(literals_in((ROOT / path).read_text())), "remove it from the list"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('x = "SEEDBED_JOB"', ["SEEDBED_JOB"]),
        ('x = f"SEEDBED_RANKS: {y}"', ["SEEDBED_RANKS"]),
        ('x = {"name": "seedbed.dev/job-uid"}', ["seedbed.dev/job-uid"]),
        ('x = f"{host}/progress"', ["/progress"]),
        ('x = "/mnt/pvc/data"', ["/mnt/pvc"]),
        ("PORT = 8701", ["8701"]),
        ('x = "at port 8701; let"', ["8701"]),
        ('def f():\n    """Reads SEEDBED_JOB."""', []),
        ('x = "SEEDBED_JOBS"', []),
        ('x = "seedbed.dev/v1alpha1"', []),
        ("x = 87010", []),
    ],
)
def test_the_search_finds_a_repeated_literal(source: str, found: list[str]) -> None:
    assert [literal for _, literal in literals_in(source)] == found
