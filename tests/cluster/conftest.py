"""Fixtures that several modules of this tier share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.test_operator import operator, scene
from seedbed_api.crd_generator import definitions
from testbed.control_plane import ControlPlane

__all__ = ["operator", "scene"]


@pytest.fixture(scope="module")
def established(control_plane: ControlPlane) -> Iterator[None]:
    """Install the committed definitions for this module."""
    control_plane.kube.define(*(Path("crds", name) for name in definitions()))
    yield
    names = [f"crd/{each['metadata']['name']}" for each in definitions().values()]
    control_plane.kube.kubectl("delete", *names, seconds=600)
