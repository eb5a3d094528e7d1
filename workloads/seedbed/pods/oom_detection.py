"""Whether the kernel killed a process of this container for memory: cgroups count it."""

from __future__ import annotations

from pathlib import Path

_COUNTERS = ("memory.events", "memory/memory.oom_control")
"""Of cgroups v2 and v1, as a container sees its own."""


def oom_kills(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processes were killed for memory, 0 where nobody counts."""
    for name in _COUNTERS:
        try:
            lines = (root / name).read_text().splitlines()
        except OSError:
            continue
        counts = [line.split() for line in lines]
        return sum(int(fields[1]) for fields in counts if fields[:1] == ["oom_kill"])
    return 0
