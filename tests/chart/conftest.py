"""Fixtures of the chart's tests: both Helms; *not run* where they cannot be built."""

from __future__ import annotations

import pytest

from chart.releases import NAMESPACE, RESTRICTED
from chart.rendering import Helm
from testbed.builds import HELM3, HELM4, built
from testbed.control_plane import ControlPlane
from testbed.fixtures import control_plane_testbed
from testbed.testbeds import Testbed

__all__ = ["control_plane_testbed"]

_TOOLS = {3: HELM3, 4: HELM4}


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest) -> Helm:
    """Return Helm 3, then Helm 4."""
    return built_helm(request.param)


@pytest.fixture(scope="session")
def helm4() -> Helm:
    """Return Helm 4, for what both render alike."""
    return built_helm(4)


def built_helm(major: int) -> Helm:
    """Return the Helm of a major version."""
    return Helm(major=major, binary=built(_TOOLS[major]))


@pytest.fixture(scope="package")
def cluster(control_plane_testbed: Testbed) -> ControlPlane:
    """Return the control plane with a node in name for the operator, and the namespaces of the tests."""
    control_plane_testbed.fake_nodes.add_pool("chart", 2)
    for name in (NAMESPACE, "team-a", "team-b"):
        body = {"metadata": {"name": name, "labels": RESTRICTED}}
        control_plane_testbed.kube.create("/api/v1/namespaces", body)
    return control_plane_testbed.control
