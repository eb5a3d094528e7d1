"""The folders that a killed testbed would leave: found by name, removed from the leaves up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed import cgroups
from testbed.cgroups import PREFIX, make_cgroup, processes_below, remove_cgroups, remove_orphaned_cgroups

GONE = 4194304  # above the kernel's largest process number
OURS, ORPHANED = f"{PREFIX}{os.getpid()}-abc", f"{PREFIX}{GONE}-def"


@pytest.fixture
def hierarchies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hierarchies of version 1, as folders."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    for name in ("pids", "memory"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_node_has_one_folder_for_pods_and_one_for_daemons_in_each_hierarchy(hierarchies: Path) -> None:
    assert make_cgroup(OURS, "node1") == f"/{OURS}/node1"
    for hierarchy in ("pids", "memory"):
        found = {path.name for path in (hierarchies / hierarchy / OURS).iterdir()}
        assert found == {"node1", "node1-daemons"}


def test_a_box_weighs_more_than_one_process_of_the_machine(hierarchies: Path) -> None:
    shares = hierarchies / "pids" / OURS / "cpu.shares"
    shares.parent.mkdir()
    shares.write_text("1024")
    make_cgroup(OURS, "node1")
    assert int(shares.read_text()) > 1024
    assert not (hierarchies / "memory" / OURS / "cpu.shares").exists()


def test_all_levels_are_removed(hierarchies: Path) -> None:
    (hierarchies / "pids" / OURS / "node1" / "kubepods" / "pod1").mkdir(parents=True)
    remove_cgroups(OURS)
    assert not list(hierarchies.glob(f"*/{OURS}"))


def test_only_what_no_process_owns_any_more_is_removed_as_orphaned(hierarchies: Path) -> None:
    for name in (OURS, ORPHANED, "someone-else"):
        (hierarchies / "pids" / name).mkdir()
    remove_orphaned_cgroups()
    assert {path.name for path in (hierarchies / "pids").iterdir()} == {OURS, "someone-else"}


def test_another_folder_is_never_removed_by_mistake(hierarchies: Path) -> None:
    with pytest.raises(AssertionError):
        remove_cgroups("kubepods")


def test_processes_of_one_container_are_told_from_those_of_the_others(hierarchies: Path) -> None:
    for container, process in (("one", "11"), ("two", "22")):
        folder = hierarchies / "pids" / OURS / "node1" / "pod" / container
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text(f"{process}\n0\n")
    assert processes_below(f"/{OURS}/node1", containing="two") == [22]
    assert sorted(processes_below(f"/{OURS}/node1")) == [11, 22]
