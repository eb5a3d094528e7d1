"""The cgroup folders of a box, the only thing of it that the kernel does not take away by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "seedbed-testbed-"
_V2_CONTROLLERS = "+cpuset +cpu +io +memory +pids"


def make_cgroup(name: str, node: str) -> str:
    """Make the cgroup below which a kubelet makes its own; return its path as the kubelet wants it."""
    for hierarchy in _hierarchies():
        (hierarchy / name / node).mkdir(parents=True, exist_ok=True)
        if _unified():
            (hierarchy / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
            (hierarchy / name / "cgroup.subtree_control").write_text(_V2_CONTROLLERS)
        for folder in (hierarchy / name, hierarchy / name / node):
            _inherit_cpuset(folder)
    return f"/{name}/{node}"


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


def _hierarchies() -> Iterator[Path]:
    if _unified():
        yield ROOT
    elif ROOT.is_dir():
        yield from (path for path in ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def _unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()
