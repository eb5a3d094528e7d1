"""Fixtures that every tier shares. The process is pinned before anything imports torch, as every worker is."""

from __future__ import annotations

import gc
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from seedbed.environment.environment_pins import pin_environment
from seedbed.ray_cluster.local_ray import prepare_environment

pin_environment(os.environ)
prepare_environment(os.environ)
# a busy machine may take its time over an example, and over drawing it
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

from testbed.builds import ToolMissing  # noqa: E402
from testbed.fixtures import s3, s3_faults, shared_testbed  # noqa: E402

__all__ = ["s3", "s3_faults", "shared_testbed"]


FILES = {"tmp_path", "tmp_path_factory"}
OF_MACHINES = {"cli", "docs", "environment", "pods", "startup", "testbed"}
"""Packages whose unit tests start processes and tools, or read the environment."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Skip a test whose fixtures need what this machine lacks."""
    with _what_is_missing_is_said():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test that needs what this machine lacks."""
    with _what_is_missing_is_said():
        return (yield)


@contextmanager
def _what_is_missing_is_said() -> Iterator[None]:
    try:
        yield
    except ToolMissing as missing:
        pytest.skip(str(missing))


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what was imported: it looked at all of torch again and again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add what `tests/tiers.sh` asks for to the files that it names: counts of tests, and the time of each of several tiers."""
    if hasattr(terminalreporter.config, "workerinput"):  # one of xdist's, whose tests are told here too
        return
    ended = terminalreporter.stats
    failed = len(ended.get("failed", [])) + len(ended.get("error", []))
    counts = f"{len(ended.get('passed', []))} {failed} {len(ended.get('skipped', []))}\n"
    _append("SEEDBED_TEST_COUNTS", counts)
    times: Counter[str] = Counter()
    for report in itertools.chain.from_iterable(ended.values()):
        if isinstance(report, pytest.TestReport):
            times[Path(report.nodeid).parts[1]] += report.duration
    if len(times) > 1:
        lines = "".join(f"  {tier}: {seconds:.0f} s\n" for tier, seconds in times.items())
        terminalreporter.write(lines)
        _append("SEEDBED_TEST_TIMES", lines)


def _append(variable: str, text: str) -> None:
    file = os.environ.get(variable)
    if file:
        with Path(file).open("a") as output:
            output.write(text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/scenarios, and the unit tests whose result may depend on the machine: see `machine`."""
    for item in items:
        parts = item.path.relative_to(Path(__file__).parent).parts
        if parts[0] == "scenarios":
            item.add_marker(pytest.mark.scenario)
        elif parts[0] == "unit" and (
            parts[1] in OF_MACHINES or FILES & set(getattr(item, "fixturenames", ()))
        ):
            item.add_marker(pytest.mark.machine)
