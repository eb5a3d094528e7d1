"""Every command of the docs is typed by a test, or it is said why not; what is not typed at least exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from seedbed.cli import cli
from support.docs.pages import (
    COMMAND,
    NOT_TYPED,
    REPOSITORY,
    TYPED_BY,
    Fence,
    commands,
    fences,
    pages,
    sentences,
    text_of,
    whole_commands_within_sentences,
)

KINDS = ("bash", "console")
MAKE = re.compile(r"\bmake ((?:[a-z][a-z0-9-]*[ `\n]+)*[a-z][a-z0-9-]*)`")
"""Within a sentence, in backticks: one target or several."""


def all_typed() -> set[str]:
    """Return every command of the pages that tests type."""
    named = [page for group in TYPED_BY.values() for page in group]
    return {line for page in named for kind in KINDS for line in commands(page, kind)}


@pytest.mark.parametrize("page", pages())
def test_every_command_of_a_page_is_typed_by_a_test(page: str) -> None:
    told = {line for kind in KINDS for line in commands(page, kind)}
    assert told <= all_typed()


@pytest.mark.parametrize("page", pages())
def test_commands_stand_in_fences_that_are_typed(page: str) -> None:
    others = [fence.text for fence in fences(page) if fence.kind not in KINDS]
    prose = sentences(page)
    indented = [line for line in prose.splitlines() if line.startswith("    ")]
    assert [line for text in (*others, *indented) for line in text.splitlines() if COMMAND.match(line)] == []


@pytest.mark.parametrize("page", pages())
def test_whole_commands_of_sentences_are_typed_or_can_be_parsed(page: str) -> None:
    for line in whole_commands_within_sentences(page):
        if line.startswith("seedbed "):
            check_options(shlex.split(line)[1:])
        else:
            assert page in TYPED_BY["tests/e2e/test_pages.py"], f"{page}: nobody types {line}"


def check_options(words: list[str]) -> None:
    """Check that a command of ours has the options that a page gives it."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_every_target_that_a_page_names_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    named = {word for page in pages() for words in MAKE.findall(text_of(page)) for word in words.split()}
    assert len(named) > 20
    assert named <= targets


def test_what_is_not_typed_stands_on_some_page_and_says_why() -> None:
    everything = "\n".join(map(text_of, pages()))
    for command, reason in NOT_TYPED.items():
        assert command in everything
        for path in re.findall(r"tests/\S+\.py", reason):
            assert (REPOSITORY / path).exists()


def test_readers_type_from_the_pages() -> None:
    """Each test of the table asks for the commands of its pages."""
    for test, named in TYPED_BY.items():
        source = (REPOSITORY / test).read_text(encoding="utf-8")
        assert "commands(" in source
        for page in named:
            assert page in source or Path(page).stem in source, f"{test} does not name {page}"


def test_make_help_shows_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in told.splitlines()} >= {"demo", "test", "lint", "testbed"}


def test_an_indented_command_would_be_found() -> None:
    """Check the check."""
    assert COMMAND.match("    kubectl get pods")
    assert COMMAND.match("    .venv/bin/seedbed run -f job.yaml")
    assert not COMMAND.match("    shards/<split>-<n>.arrow")
    assert Fence("bash", "a b \\\n  c   # said\n# alone\n").commands == ["a b c"]


def test_an_option_that_is_not_there_would_be_found() -> None:
    """Check the check."""
    with pytest.raises(AssertionError):
        check_options(["runs", "prune", "STORE", "--no-such-option"])
