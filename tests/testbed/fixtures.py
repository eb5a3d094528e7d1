"""Pytest fixtures of the testbed; `tests/conftest.py` imports them for every tier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.control_plane import ControlPlane
from testbed.fake_nodes import FakeNodes
from testbed.faults import FaultProxy, fault_proxy
from testbed.gateway import Gateway, running_gateway
from testbed.kube import Kube
from testbed.nodes import Node
from testbed.testbeds import Testbed, running_testbed

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one S3 server for the session; the tests that need it are *not run* where Go is missing."""
    folder = tmp_path_factory.mktemp("s3")
    with running_gateway(folder) as gateway:
        yield gateway


@pytest.fixture
def s3_faults(s3: Gateway) -> Iterator[FaultProxy]:
    """Run a proxy with injectable faults in front of the S3 server."""
    with fault_proxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def control_plane_testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Run one Kubernetes without kubelets for the session; *not run* where Go, root or namespaces are missing."""
    yield from _a_testbed(tmp_path_factory.mktemp("control-plane"), nodes=0)


@pytest.fixture(scope="session")
def control_plane(control_plane_testbed: Testbed) -> ControlPlane:
    """The control plane of the session, without kubelets."""
    return control_plane_testbed.control


@pytest.fixture
def kube(control_plane: ControlPlane) -> Kube:
    """The admin's connection to the control plane of the session."""
    return control_plane.kube


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of this test alone on the control plane, deleted after it."""
    yield from _a_namespace(kube)


@pytest.fixture
def fake_nodes(control_plane_testbed: Testbed) -> FakeNodes:
    """Nodes in name only, beside the control plane."""
    return control_plane_testbed.fake_nodes


@pytest.fixture(scope="session")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Run one Kubernetes with a real node for the session; *not run* where a runtime of containers is missing."""
    yield from _a_testbed(tmp_path_factory.mktemp("testbed"), nodes=1)


@pytest.fixture(scope="session")
def second_node(testbed: Testbed) -> Node:
    """A second real node, for what one alone cannot show."""
    return testbed.add_node()


@pytest.fixture
def pod_namespace(testbed: Testbed) -> Iterator[str]:
    """A namespace of this test alone on the testbed with real nodes, deleted after it."""
    yield from _a_namespace(testbed.kube)


def _a_testbed(folder: Path, *, nodes: int) -> Iterator[Testbed]:
    with running_testbed(folder, nodes=nodes, keep=True) as testbed:
        yield testbed


def _a_namespace(kube: Kube) -> Iterator[str]:
    name = f"test-{next(_NUMBERS)}"
    kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    kube.wait_for(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
    yield name
    kube.delete(f"/api/v1/namespaces/{name}")
