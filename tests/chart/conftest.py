"""Fixtures of the chart's tests: both Helms; *not run* where they cannot be built."""

from __future__ import annotations

import pytest

from chart.rendering import Helm
from testbed.builds import HELM3, HELM4, built

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
