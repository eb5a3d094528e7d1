"""Pytest fixtures of the testbed.

`tests/conftest.py` imports those of a session. Those of the scope `package` are one tier's: its conftest imports them, and
they end with its last test, so that the next tier can have the testbed.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

import pytest

from testbed.builds import ToolMissing
from testbed.control_plane import ControlPlane
from testbed.fake_nodes import FakeNodes
from testbed.faults import FaultProxy, fault_proxy
from testbed.gateway import Gateway, running_gateway
from testbed.kube import Kube
from testbed.nodes import Node
from testbed.shared_testbed import SharedTestbed, shared_by_tiers
from testbed.testbeds import Testbed

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
def shared_testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedTestbed]:
    """The one testbed of the session, lent to one tier after another."""
    with shared_by_tiers(tmp_path_factory.mktemp("testbed")) as shared:
        yield shared


@pytest.fixture(scope="package")
def control_plane_testbed(shared_testbed: SharedTestbed) -> Testbed:
    """A Kubernetes without kubelets, this tier's alone for now; *not run* where Go, root or namespaces are missing."""
    return _lent(shared_testbed, nodes=0)


@pytest.fixture(scope="package")
def control_plane(control_plane_testbed: Testbed) -> ControlPlane:
    """The control plane of the tier, without kubelets."""
    return control_plane_testbed.control


@pytest.fixture
def kube(control_plane: ControlPlane) -> Kube:
    """The admin's connection to the control plane of the tier."""
    return control_plane.kube


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of this test alone on the control plane, deleted after it."""
    yield from _a_namespace(kube)


@pytest.fixture
def fake_nodes(control_plane_testbed: Testbed) -> FakeNodes:
    """Nodes in name only, beside the control plane."""
    return control_plane_testbed.fake_nodes


@pytest.fixture(scope="package")
def testbed(shared_testbed: SharedTestbed) -> Testbed:
    """A Kubernetes with a real node, this tier's alone; *not run* where a runtime of containers is missing."""
    return _lent(shared_testbed, nodes=1)


@pytest.fixture(scope="package")
def second_node(testbed: Testbed) -> Node:
    """A second real node, for what one alone cannot show."""
    return testbed.add_node()


@pytest.fixture
def pod_namespace(testbed: Testbed) -> Iterator[str]:
    """A namespace of this test alone on the testbed with real nodes, deleted after it."""
    yield from _a_namespace(testbed.kube)


def _lent(shared: SharedTestbed, *, nodes: int) -> Testbed:
    latest = float(os.environ.get("SEEDBED_TEST_LATEST") or "inf")
    if time.time() > latest:
        raise ToolMissing("not run: the tiers before it took the minutes in which one may begin")
    return shared.lend(nodes=nodes)


def _a_namespace(kube: Kube) -> Iterator[str]:
    name = f"test-{next(_NUMBERS)}"
    kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    kube.wait_for(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
    yield name
    kube.delete(f"/api/v1/namespaces/{name}")
