"""What a machine lacks for the testbed is a reason to print, with the next command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from testbed import nodes, testbeds
from testbed.boxes import missing_means
from testbed.builds import ToolMissing
from testbed.nodes import missing_node_means
from testbed.packages import install_packages, missing_packages


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine of root without any command."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)


def test_another_system_than_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert missing_means() == ["no Linux"]


def test_everything_that_is_missing_is_named_at_once(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(testbeds, "missing_for", lambda *_: ["no Go"])
    with pytest.raises(ToolMissing) as said, testbeds.running_testbed(nodes=1):
        pass
    user, box, node, *_, go = str(said.value).removeprefix("not run: ").split("; ")
    assert (user, go) == ("not root", "no Go")
    assert box.startswith("no unshare, nsenter, ")
    assert node.startswith("no containerd, ")
    assert box.endswith("(make testbed-packages)")
    assert node.endswith("(make testbed-packages)")


def test_a_machine_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/there")
    monkeypatch.setattr(Path, "exists", lambda *_: True)
    monkeypatch.setattr(nodes, "cgroups_writable", lambda: True)
    assert [*missing_means(), *missing_node_means()] == []


def test_a_python_that_pods_would_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/there")
    monkeypatch.setattr(Path, "exists", lambda *_: True)
    monkeypatch.setattr(nodes, "cgroups_writable", lambda: True)
    monkeypatch.setattr(sys, "base_prefix", "/tmp/python")
    (reason,) = missing_node_means()
    assert reason.startswith("Python lies in /tmp/python")


def test_cgroups_that_nobody_may_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/there")
    monkeypatch.setattr(Path, "exists", lambda *_: True)
    monkeypatch.setattr(nodes, "cgroups_writable", lambda: False)
    assert missing_node_means() == ["/sys/fs/cgroup cannot be written"]


def test_packages_are_told_where_they_cannot_be_installed(bare: None) -> None:
    assert {"containerd", "nftables"} <= set(missing_packages())
    with pytest.raises(ToolMissing, match=r"^not run: install containerd .* first$"):
        install_packages()
