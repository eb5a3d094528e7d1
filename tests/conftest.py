"""Fixtures that every tier shares. The process is pinned before anything imports torch, as every worker is."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from seedbed.environment.pins import pin_environment
from seedbed.runtime.ray_local import prepare

pin_environment(os.environ)
prepare(os.environ)
# a busy machine may take its time over an example, and over drawing it
settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/scenarios, so that no module of it can forget to."""
    for item in items:
        if "scenarios" in item.path.parts:
            item.add_marker(pytest.mark.scenario)
