"""Fixtures that every tier shares. The process is pinned before anything imports torch, as every worker is."""

from __future__ import annotations

import gc
import os
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
from testbed.fixtures import (  # noqa: E402
    control_plane,
    control_plane_testbed,
    fake_nodes,
    kube,
    namespace,
    pod_namespace,
    s3,
    s3_faults,
    second_node,
    testbed,
)

__all__ = [
    "control_plane",
    "control_plane_testbed",
    "fake_nodes",
    "kube",
    "namespace",
    "pod_namespace",
    "s3",
    "s3_faults",
    "second_node",
    "testbed",
]


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
    """Add how many tests passed, failed and were skipped to the file that `tests/tiers.sh` names."""
    file = os.environ.get("SEEDBED_TEST_COUNTS")
    if file and not hasattr(
        terminalreporter.config, "workerinput"
    ):  # one of xdist's, whose tests are told here too
        ended = terminalreporter.stats
        failed = len(ended.get("failed", [])) + len(ended.get("error", []))
        with Path(file).open("a") as counts:
            counts.write(f"{len(ended.get('passed', []))} {failed} {len(ended.get('skipped', []))}\n")


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
