"""What a machine lacks for the testbed is a reason to print, with the next command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from testbed import nodes
from testbed.boxes import check_means
from testbed.builds import ToolMissing
from testbed.nodes import check_node_means
from testbed.packages import install_packages, missing_packages


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine of root without any command."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)


def test_another_system_than_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ToolMissing, match=r"^not run: no Linux$"):
        check_means()


def test_another_user_than_root(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolMissing, match=r"^not run: not root$"):
        check_means()


def test_missing_commands_are_named_with_what_installs_them(bare: None) -> None:
    with pytest.raises(ToolMissing, match=r"^not run: no unshare, nsenter, .*\(make testbed-packages\)$"):
        check_means()


def test_a_missing_container_runtime_is_named(bare: None) -> None:
    with pytest.raises(ToolMissing, match=r"^not run: no containerd, .*\(make testbed-packages\)$"):
        check_node_means()


def test_a_python_that_pods_would_not_see_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/there")
    monkeypatch.setattr(Path, "exists", lambda *_: True)
    monkeypatch.setattr(nodes, "cgroups_writable", lambda: True)
    monkeypatch.setattr(sys, "base_prefix", "/tmp/python")
    with pytest.raises(ToolMissing, match="Python lies in /tmp/python"):
        check_node_means()


def test_cgroups_that_nobody_may_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/there")
    monkeypatch.setattr(Path, "exists", lambda *_: True)
    monkeypatch.setattr(nodes, "cgroups_writable", lambda: False)
    with pytest.raises(ToolMissing, match="read-only"):
        check_node_means()


def test_packages_are_told_where_they_cannot_be_installed(bare: None) -> None:
    assert {"containerd", "nftables"} <= set(missing_packages())
    with pytest.raises(ToolMissing, match=r"^not run: install containerd .* first$"):
        install_packages()
