"""The operator with thousands of jobs against the ceiling of a real API server, on fake nodes.

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

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure, print, and write the page where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="jobs of four pods, all rounds together")
    parser.add_argument("--rounds", type=int, default=8, help="turns of operator and plain client")
    parser.add_argument("--idle", type=int, default=5000, help="jobs without pods")
    parser.add_argument("--rate", type=float, default=10.0, help="jobs per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long jobs come at that rate")
    parser.add_argument("--steady", type=float, default=30.0, help="seconds of looking at what runs, twice")
    parser.add_argument("--only", default="", help="memory, latency or creation")
    parser.add_argument("--untidy", action="store_true", help="remove nothing between phases: quicker")
    parser.add_argument("--profiles", type=Path, help="folder for cProfile's files of the operator")
    parser.add_argument("--figures", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--write", type=Path, help="page to write, as docs/results/operator.md")
    asked = parser.parse_args()
    jobs = round(asked.rate * asked.seconds)
    figures: dict[str, Any] = {}
    with running_world(
        nodes=max(2, asked.jobs // 100), tidy=not asked.untidy, profiles=asked.profiles
    ) as world:
        if asked.only in ("", "memory"):
            figures["memory"] = phases.memory_without_pods(world, asked.idle)
            phases.say("memory", json.dumps(figures["memory"]))
        if asked.only in ("", "latency"):
            figures["latency"] = phases.latency(world, asked.rate, jobs)
            phases.say("latency", json.dumps(figures["latency"]))
        if asked.only in ("", "creation"):
            figures["creation"] = phases.creation(
                world, asked.rounds, asked.jobs // asked.rounds, asked.steady
            )
            phases.say("creation", json.dumps(figures["creation"]))
    if asked.figures:
        asked.figures.write_text(json.dumps(figures, indent=1))
    if not asked.only:
        text = pages.page(figures)
        print(text)
        if asked.write:
            asked.write.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
