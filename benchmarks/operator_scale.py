"""The operator with thousands of jobs on a real API server and fake nodes, compared with a plain client.

Not named `operator.py`: it would shadow the standard library's module for every script in this folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scale import pages, phases
from scale.worlds import running_world

PARTS = ("memory", "latency", "creation")


def main() -> None:
    """Measure, print, and write the page where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="jobs of four pods, all rounds together")
    parser.add_argument("--rounds", type=int, default=8, help="turns of operator and plain client")
    parser.add_argument("--idle", type=int, default=5000, help="jobs without pods")
    parser.add_argument("--rate", type=float, nargs="+", default=[10.0, 3.0], help="jobs per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long jobs come at each rate")
    parser.add_argument("--steady", type=float, default=30.0, help="seconds of looking at what runs, twice")
    parser.add_argument("--only", default="", choices=["", *PARTS], help="one part")
    parser.add_argument("--untidy", action="store_true", help="remove nothing between phases: quicker")
    parser.add_argument("--profiles", type=Path, help="folder for cProfile's files of the operator")
    parser.add_argument("--figures", type=Path, help="JSON file of figures; adds to those that are there")
    parser.add_argument("--write", type=Path, help="page to write, as docs/results/operator.md")
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    if asked.figures and asked.figures.exists():
        figures = json.loads(asked.figures.read_text())
    with running_world(
        nodes=max(2, asked.jobs // 100), tidy=not asked.untidy, profiles=asked.profiles
    ) as world:
        if asked.only in ("", "memory"):
            figures["memory"] = phases.memory_without_pods(world, asked.idle)
            phases.say("memory", json.dumps(figures["memory"]))
        if asked.only in ("", "latency"):
            figures["latency"] = [phases.latency(world, rate, asked.seconds) for rate in asked.rate]
            phases.say("latency", json.dumps(figures["latency"]))
        if asked.only in ("", "creation"):
            figures["creation"] = phases.creation(
                world, asked.rounds, asked.jobs // asked.rounds, asked.steady
            )
            phases.say("creation", json.dumps(figures["creation"]))
    if asked.figures:
        asked.figures.write_text(json.dumps(figures, indent=1))
    if all(part in figures for part in PARTS):
        text = pages.page(figures)
        print(text)
        if asked.write:
            asked.write.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
