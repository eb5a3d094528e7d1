"""docs/troubleshooting.md says of every reason what the code says, and names the situations that are tested."""

from __future__ import annotations

import ast
from collections import defaultdict
from enum import StrEnum
from pathlib import Path

import pytest

from seedbed_api import conditions
from seedbed_api.conditions import AttemptReason, FailedReason, RunningReason
from support.situations.control_plane_cases import SITUATIONS as WITHOUT_KUBELETS
from support.situations.kubelet_cases import SITUATIONS as WITH_KUBELETS

DOCUMENT = Path("docs/troubleshooting.md")
TABLES: dict[str, type[StrEnum]] = {
    "It does not run": RunningReason,
    "It has failed": FailedReason,
    "An attempt has failed": AttemptReason,
}
SITUATIONS = {**WITHOUT_KUBELETS, **WITH_KUBELETS}


def rows_of(title: str) -> dict[str, dict[str, str]]:
    """Return a table of the document: the cells of each reason by the head of their column."""
    section = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line] for line in lines)
    return {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def meanings() -> dict[str, dict[str, str]]:
    """Return what stands under each reason in the code, by class."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    tree = ast.parse(Path(conditions.__file__).read_text(encoding="utf-8"))
    for block in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for name, below in zip(block.body, block.body[1:], strict=False):
            if isinstance(name, ast.Assign) and isinstance(below, ast.Expr):
                reason, told = ast.literal_eval(name.value), ast.literal_eval(below.value)
                found[block.name][reason] = " ".join(told.split())
    return found


@pytest.mark.parametrize("title", TABLES)
def test_every_reason_is_explained_in_the_words_of_the_code(title: str) -> None:
    reasons = TABLES[title]
    told = {reason: row["what it means"] for reason, row in rows_of(title).items()}
    assert told == meanings()[reasons.__name__]
    assert list(told) == [str(reason) for reason in reasons]


@pytest.mark.parametrize("title", TABLES)
def test_every_reason_comes_with_something_to_do(title: str) -> None:
    assert all(len(row["what to do"]) > 10 for row in rows_of(title).values())


def test_the_examples_are_the_situations_that_are_tested() -> None:
    tables = [rows_of(title) for title, reasons in TABLES.items() if reasons is not AttemptReason]
    told = {
        reason: row["for example"].split("; ")
        for rows in tables
        for reason, row in rows.items()
        if row["for example"]
    }
    tested: dict[str, list[str]] = defaultdict(list)
    for name, situation in SITUATIONS.items():
        tested[situation.reason].append(name)
    assert told == tested


def test_no_situation_is_told_twice() -> None:
    assert len(SITUATIONS) == len(WITHOUT_KUBELETS) + len(WITH_KUBELETS)
