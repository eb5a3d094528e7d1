"""Meters: CPU seconds and memory of a process, and what the API server itself has counted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from seedbed_api.metric_names import Family

_TICKS = os.sysconf("SC_CLK_TCK")
_REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OURS = {
    ("POST", "pods", ""): "pods",
    ("POST", "services", ""): "services",
    ("POST", "secrets", ""): "secrets",
    ("POST", "networkpolicies", ""): "policies",
    ("PATCH", "trainingjobs", "status"): "statuses",
    ("DELETE", "pods", ""): "deletions",
}
"""Writes that only the operator makes; events are counted by who has signed them."""


def cpu_seconds(pid: int) -> float:
    """Return user and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> dict[str, float]:
    """Return resident, proportional and peak memory of a process in MB (10^6 bytes)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text() + Path(f"/proc/{pid}/status").read_text()
    found = re.findall(r"^(Rss|Pss|VmHWM):\s+(\d+) kB$", text, re.MULTILINE)
    return {name: int(kib) * 1024 / 1e6 for name, kib in found}


def requests_served(metrics: str) -> dict[tuple[str, str, str], int]:
    """Return the API server's own counts by verb, resource and subresource; only what it carried out."""
    counts: dict[tuple[str, str, str], int] = {}
    for found in _REQUESTS.finditer(metrics):
        labels = dict(_LABEL.findall(found["labels"]))
        if labels["code"].startswith("2"):
            key = (labels["verb"], labels["resource"], labels["subresource"])
            counts[key] = counts.get(key, 0) + int(float(found["count"]))
    return counts


def our_writes(counts: Mapping[tuple[str, str, str], int]) -> dict[str, int]:
    """Return the writes that only the operator makes."""
    return {name: counts.get(key, 0) for key, name in _OURS.items()}


def operator_metrics(page: str) -> dict[str, float]:
    """Return what the operator tells of itself, by name and labels as they are written."""
    lines = (line.rpartition(" ") for line in page.splitlines() if line.startswith("seedbed_operator_"))
    return {sample: float(value) for sample, _, value in lines}


def of(family: Family, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the samples of a family by their labels."""
    parts = ((sample.partition("{"), value) for sample, value in metrics.items())
    return {labels.rstrip("}"): value for (name, _, labels), value in parts if name == family.name}


class Stolen:
    """Share of the cores' time that the hypervisor gave to others since this was made."""

    def __init__(self) -> None:
        self._before = self._ticks()

    def share(self) -> float:
        """Return the share."""
        total, stolen = (now - then for now, then in zip(self._ticks(), self._before, strict=True))
        return stolen / total if total else 0.0

    @staticmethod
    def _ticks() -> tuple[int, int]:
        ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks), ticks[7]


def load() -> float:
    """Return how many processes of the machine want a core, as a mean over the last minute."""
    return os.getloadavg()[0]
