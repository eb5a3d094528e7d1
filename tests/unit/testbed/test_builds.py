"""Binaries of the testbed are known by what they are made of."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from testbed import builds
from testbed.builds import KUBERNETES, TOOLS, VERSITYGW, Tool, ToolMissing, binary_of, built


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules and a cache of our own."""
    monkeypatch.setattr(builds, "SOURCES", tmp_path / "modules")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "modules" / "tools"
    (folder / "own").mkdir(parents=True)
    for name, text in (("go.mod", "module own\n"), ("go.sum", ""), ("own/main.go", "package main\n")):
        (folder / name).write_text(text)
    return folder


OWN = Tool(name="own", package="./own")
PINNED = Tool(name="pinned", package="example.com/pinned")


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "own/main.go"])
def test_a_changed_source_is_another_binary(modules: Path, changed: str) -> None:
    before = binary_of(OWN)
    (modules / changed).write_text("// changed\n")
    assert binary_of(OWN) != before


def test_a_tool_of_a_module_does_not_depend_on_our_own_programs(modules: Path) -> None:
    before = binary_of(PINNED)
    (modules / "own" / "main.go").write_text("// changed\n")
    assert binary_of(PINNED) == before


def test_another_version_given_to_the_linker_is_another_binary() -> None:
    assert binary_of(dataclasses.replace(KUBERNETES, values=())) != binary_of(KUBERNETES)


def test_the_version_that_is_shown_is_the_one_that_is_pinned() -> None:
    pinned = re.search(r"k8s.io/kubernetes (v\S+)", (KUBERNETES.folder / "go.mod").read_text())
    assert pinned is not None
    assert pinned[1] == builds.KUBERNETES_VERSION


def test_the_client_libraries_of_the_tools_are_those_of_the_cluster() -> None:
    pinned = set(re.findall(r"k8s.io/client-go (v\S+)", (VERSITYGW.folder / "go.mod").read_text()))
    assert pinned == {f"v0{builds.KUBERNETES_VERSION.removeprefix('v1')}"}


def test_all_tools_are_compiled_alike_so_that_they_share_what_is_compiled() -> None:
    assert {tool.flags[:-1] for tool in TOOLS} == {builds.FLAGS}


def test_without_go_the_reason_is_told(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match="not run: no Go"):
        built(OWN)


def test_what_was_built_needs_no_go(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = binary_of(OWN)
    binary.parent.mkdir(parents=True)
    binary.write_text("built")
    monkeypatch.setenv("PATH", "")
    assert built(OWN) == binary


def test_a_home_that_cannot_be_written_is_named(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/go")
    with pytest.raises(ToolMissing, match=r"^not run: own has no place .*cache.* XDG_CACHE_HOME"):
        built(OWN)
