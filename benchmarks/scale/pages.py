"""Write the page of results as Markdown from the figures."""

from __future__ import annotations

import os
import platform
import statistics
import textwrap
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]
_OTHERS = ("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kwok")
_PACKAGES = ("kopf", "kubernetes", "aiohttp", "pydantic")
_MODULES = Path(__file__).parents[2] / "tests/testbed"
_SERVERS = {"kubernetes": "k8s.io/kubernetes", "kwok": "sigs.k8s.io/kwok"}


def page(figures: Figures) -> str:
    """Return the page."""
    lines = [*_head(figures), *_goals(figures), *_creation(figures["creation"])]
    lines += _steady(figures["creation"])
    lines += [line for latency in figures["latency"] for line in _latency(latency)]
    lines += _memory(figures)
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Return the line that names cores, processor and versions."""
    cpu = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{os.cpu_count()} cores, {cpu.partition(': ')[2]}; {', '.join(map(_built, _SERVERS))}, "
        f"Python {platform.python_version()} with {versions}."
    )


def _built(name: str) -> str:
    """Return name and version of a server of the testbed."""
    lines = (line for file in _MODULES.glob("*/go.mod") for line in file.read_text().splitlines())
    required = (line.removeprefix("require ").split() for line in lines)
    return f"{name} {next(words[1] for words in required if words[:1] == [_SERVERS[name]])}"


def ratios(creation: Figures) -> list[float]:
    """Return the operator's pods per second over those of the plain client, for each pair of turns."""
    return [turn["ours"]["pods_per_second"] / turn["raw"]["pods_per_second"] for turn in creation["rounds"]]


def writes(latency: Figures) -> tuple[float, float]:
    """Return writes per job until it runs, as the API server counts them and as the operator does."""
    return sum(latency["writes_per_job"].values()), sum(latency["own_writes_per_job"].values())


def _head(figures: Figures) -> list[str]:
    turns = [turn[who] for turn in figures["creation"]["rounds"] for who in ("ours", "raw")]
    loads = [each["load"] for each in (*turns, *figures["latency"])]
    stolen = [100 * each["stolen"] for each in (*turns, *figures["latency"])]
    return [
        "# The operator with thousands of jobs",
        "",
        _paragraph(
            "This page shows how fast the operator creates pods, and what thousands of jobs cost. `make",
            "bench-operator` runs one operator with minimal permissions on the testbed's control plane",
            "(etcd in memory, API server, controller manager, scheduler, kwok), all on one machine. A",
            "job has a driver and 3 workers. Fake pods run as soon as they have a node; one server",
            "answers `/progress` for all drivers, so that jobs reach *Training*. Load generator and",
            "plain client run beside the API server as the same user, and so under the same flow",
            "control.",
        ),
        "",
        machine(),
        _paragraph(
            f"Load of the machine (1 min): {min(loads):.1f} to {max(loads):.1f}; the benchmark itself keeps",
            f"the cores busy while pods are created. The hypervisor gave {min(stolen):.0f} to",
            f"{max(stolen):.0f} % of the cores' time to others: above a few percent, rates and latencies are",
            "unreliable; ratios, counts and memory are not.",
        ),
        "",
    ]


def _paragraph(*lines: str) -> str:
    return textwrap.fill(" ".join(lines), 110, break_long_words=False, break_on_hyphens=False)


def _goals(figures: Figures) -> list[str]:
    creation, latency, memory = figures["creation"], figures["latency"][0], figures["memory"]
    ratio = statistics.median(ratios(creation))
    most = max(memory["burst"]["Rss"], memory["restarted"]["Rss"])
    late = latency["seconds"]["p99"]
    cases: Iterable[tuple[str, str, str, bool]] = (
        ("pods per second, relative to the plain client", f"{ratio:.2f}", "≥ 0.8", ratio >= 0.8),
        (
            "API writes per job until it runs",
            f"{writes(latency)[0]:.1f}",
            "≤ 10",
            max(writes(latency)) <= 10,
        ),
        (f"resident, {memory['jobs']} jobs without pods", f"{most:.0f} MB", "≤ 150 MB", most <= 150),
        (
            f"p99 from apply to 4 pods, {latency['rate']:.0f} jobs/s",
            f"{late:.2f} s",
            "< 1 s, idle machine",
            late < 1 and latency["seen"] == latency["jobs"],
        ),
    )
    rows = [
        f"| {what} | {value} | {goal}: {'met' if met else 'missed'} |" for what, value, goal, met in cases
    ]
    return ["| figure | value | goal |", "| --- | ---: | --- |", *rows, ""]


def _creation(creation: Figures) -> list[str]:
    count = creation["jobs"] // len(creation["rounds"])
    lines = [
        "## Creating pods",
        "",
        _paragraph(
            f"{creation['jobs']} jobs, {creation['pods']} pods of each, in turns of {count} jobs that all",
            "exist at once (the operator is paused while they are applied). The plain client posts the same",
            "bodies, with Secrets and Services, 32 jobs at a time like the operator, and does nothing else.",
            "Time ends with the last pod in the API server.",
        ),
        "",
        "| turn | operator, pods/s | client, pods/s | ratio | operator, CPU-ms/job | client, CPU-ms/job |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for number, (turn, ratio) in enumerate(zip(creation["rounds"], ratios(creation), strict=True)):
        rates = [f"{turn[who]['pods_per_second']:.0f}" for who in ("ours", "raw")]
        cpu = [turn["ours"]["cpu"]["operator"], turn["raw"]["cpu"]["client"]]
        spent = [f"{1000 * value / count:.1f}" for value in cpu]
        lines.append(f"| {number + 1} | {' | '.join(rates)} | {ratio:.2f} | {' | '.join(spent)} |")
    until = statistics.median(turn["ours"]["cpu_until_running"]["operator"] for turn in creation["rounds"])
    lines += [
        "",
        f"The operator spends {1000 * until / count:.1f} CPU-ms per job until it runs (median).",
        "",
    ]
    lines += ["CPU-ms per job of the other processes until the pods exist (medians):", ""]
    lines += [f"| | {' | '.join(_OTHERS)} |", f"| --- |{' ---: |' * len(_OTHERS)}"]
    for who, name in (("ours", "operator"), ("raw", "plain client")):
        cells = [statistics.median(turn[who]["cpu"][each] for turn in creation["rounds"]) for each in _OTHERS]
        lines.append(f"| {name} | {' | '.join(f'{1000 * cell / count:.1f}' for cell in cells)} |")
    return [*lines, ""]


def _steady(creation: Figures) -> list[str]:
    lines = [
        f"## {creation['jobs']} running jobs",
        "",
        "The operator asks every driver every ten seconds. If the training makes no steps, nothing is",
        "written; if it does, every status is written every ten seconds.",
        "",
        "| training | reconciles/s | status writes/s | operator CPU | API server CPU | etcd CPU | MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, seen in creation["steady"].items():
        cpu = [f"{seen['cpu'][each]:.2f}" for each in ("operator", "kube-apiserver", "etcd")]
        figures = [f"{seen['passes']:.0f}", f"{seen['statuses']:.0f}", *cpu, f"{seen['memory']['Rss']:.0f}"]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return [*lines, "", "CPU is in cores: 1.00 is one core, all the time.", ""]


def _latency(latency: Figures) -> list[str]:
    seconds = latency["seconds"]
    written = latency["writes_per_job"]
    return [
        f"## {latency['rate']:.0f} jobs per second for {latency['jobs'] / latency['rate']:.0f} s",
        "",
        "From the request that creates a job to the watch event of its fourth pod, by one clock:",
        f"p50 {seconds['p50']:.2f} s, p99 {seconds['p99']:.2f} s, max {seconds['most']:.2f} s "
        f"({latency['seen']} of {latency['jobs']} jobs);",
        f"the answer to the request took {1000 * latency['apply_p50']:.0f} ms (median).",
        f"Load of the machine at the end: {latency['load']:.1f}.",
        "",
        f"Writes per job until it runs: {writes(latency)[0]:.2f} by the API server's count "
        f"({', '.join(f'{name} {value:.2f}' for name, value in written.items())}),",
        f"{writes(latency)[1]:.2f} by the operator's own; {latency['passes_per_job']:.1f} reconciles and "
        f"{1000 * latency['cpu']['operator'] / latency['jobs']:.0f} CPU-ms of the operator per job,",
        "with its requests to drivers until the last job ran.",
        "",
    ]


def _memory(figures: Figures) -> list[str]:
    memory, creation = figures["memory"], figures["creation"]
    rows = {
        "no jobs": memory["bare"],
        f"{memory['jobs']} suspended jobs, right after their creation": memory["burst"],
        f"{memory['jobs']} suspended jobs, after a restart": memory["restarted"],
        f"{creation['jobs']} running jobs of 4 pods": creation["memory"],
    }
    lines = ["## Memory", "", "Memory of the operator, in MB (10^6 bytes):", "", "| with | resident | peak |"]
    lines.append("| --- | ---: | ---: |")
    lines += [f"| {what} | {seen['Rss']:.0f} | {seen['VmHWM']:.0f} |" for what, seen in rows.items()]
    return lines
