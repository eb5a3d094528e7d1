"""CPU seconds and resident memory of this process and everything it started, from /proc."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(root: int | None = None) -> list[int]:
    """Return the process ids of `root` (this process) and its living descendants."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(_stat(int(folder.name))[1])
    found = [root or os.getpid()]
    for process in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == process]
    return found


def cpu_seconds() -> float:
    """Return user and system seconds of the tree, children that have ended included."""
    total = 0
    for process in tree():
        with contextlib.suppress(OSError):
            total += sum(int(ticks) for ticks in _stat(process)[11:15])
    return total / _TICKS


def process_seconds(root: int) -> dict[int, float]:
    """Return the CPU seconds of each living process of a tree, without children that have ended."""
    found = {}
    for process in tree(root):
        with contextlib.suppress(OSError):
            found[process] = sum(int(ticks) for ticks in _stat(process)[11:13]) / _TICKS
    return found


def private_bytes() -> dict[str, int]:
    """Return resident bytes of the tree: memory of its own, and shared (object store, mapped files) once."""
    own, shared = 0, 0
    for process in tree():
        with contextlib.suppress(OSError):
            resident, mapped = map(int, Path(f"/proc/{process}/statm").read_text().split()[1:3])
            own += (resident - mapped) * _PAGE
            shared = max(shared, mapped * _PAGE)
    return {"private": own, "shared": shared}


def machine() -> str:
    """Return the line that names cores, processor and versions."""
    from importlib.metadata import version

    cpu = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    names = ("ray", "torch", "pyarrow", "numpy", "pillow", "simplejpeg")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{os.cpu_count()} cores, {cpu.partition(': ')[2]}; Python {platform.python_version()}, {versions}."
    )


def _stat(process: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
