"""The cgroup folders of a box, the only thing of it that the kernel does not take away by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "seedbed-testbed-"
_V2_CONTROLLERS = "+cpuset +cpu +io +memory +pids"
_SHARES = {"cpu.shares": "10240", "cpu.weight": "1000"}
"""Ten times what one process of the machine has: the kernel weighs a whole box against each of them."""


def cgroups_writable() -> bool:
    """Say whether this process may make cgroups."""
    return os.access(_marking(), os.W_OK)


def make_cgroup(name: str, node: str) -> str:
    """Make the cgroups of a node's pods and of its daemons; return the path of the former as kubelet wants it."""
    cgroup = f"/{name}/{node}"
    for hierarchy in _hierarchies():
        for path in (cgroup, daemons_cgroup(cgroup)):
            _below(hierarchy, path).mkdir(parents=True, exist_ok=True)
        if _unified():
            (hierarchy / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
            (hierarchy / name / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
        for path in (f"/{name}", cgroup, daemons_cgroup(cgroup)):
            _inherit_cpuset(_below(hierarchy, path))
        _weigh(hierarchy / name)
    return cgroup


def daemons_cgroup(cgroup: str) -> str:
    """Return the cgroup of a node's own daemons, beside that of its pods."""
    return f"{cgroup}-daemons"


def entry_file(cgroup: str) -> Path:
    """Return the file that takes a process into a cgroup; of version 1, one hierarchy is enough to find it by."""
    return _below(_marking(), cgroup) / "cgroup.procs"


def processes_below(cgroup: str, *, containing: str = "") -> list[int]:
    """Return the processes in a cgroup and below, only of folders whose path contains a text if one is given."""
    found: list[int] = []
    for file in _below(_marking(), cgroup).rglob("cgroup.procs"):
        if containing in str(file):
            with suppress(FileNotFoundError, ProcessLookupError):  # the folder went while we looked
                found += [int(line) for line in file.read_text().split() if line != "0"]
    return found


def remove_cgroups(name: str) -> None:
    """Remove the folders of one box, whose processes have been killed."""
    assert name.startswith(PREFIX)
    for hierarchy in _hierarchies():
        for _ in range(50):  # a killed process leaves its cgroup a moment after it was reaped
            if _removed(hierarchy / name):
                break
            time.sleep(0.1)


def remove_orphaned_cgroups() -> None:
    """Remove what boxes left whose supervisor was killed by SIGKILL; the name carries its parent's process id."""
    names = {folder.name for hierarchy in _hierarchies() for folder in hierarchy.glob(f"{PREFIX}*")}
    for name in names:
        owner = name.removeprefix(PREFIX).split("-", maxsplit=1)[0]
        if not Path("/proc", owner).exists():
            remove_cgroups(name)


def _removed(folder: Path) -> bool:
    if not folder.exists():
        return True
    deepest_first = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    try:
        for path in (*deepest_first, folder):
            path.rmdir()
    except OSError:
        return False
    return True


def _inherit_cpuset(folder: Path) -> None:
    """Fill what cgroup v1 leaves empty: without CPUs and memory nodes no process may enter."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        own, parent = folder / name, folder.parent / name
        if not _unified() and own.exists() and not own.read_text().strip():
            own.write_text(parent.read_text())


def _weigh(folder: Path) -> None:
    """Give the box its share of the CPUs, in the way of either version of cgroups."""
    for name, value in _SHARES.items():
        if (folder / name).exists():
            (folder / name).write_text(value)


def _below(hierarchy: Path, cgroup: str) -> Path:
    return hierarchy / cgroup.lstrip("/")


def _marking() -> Path:
    return ROOT if _unified() else ROOT / "pids"


def _hierarchies() -> Iterator[Path]:
    if _unified():
        yield ROOT
    elif ROOT.is_dir():
        yield from (path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def _unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()
