"""Pytest fixtures of the testbed; `tests/conftest.py` imports them for every tier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from testbed.builds import ToolMissing
from testbed.controlplanes import ControlPlane
from testbed.faults import FaultProxy, fault_proxy
from testbed.gateway import Gateway, running_gateway
from testbed.kube import Kube
from testbed.testbeds import running_testbed

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one S3 server for the session; the tests that need it are *not run* where Go is missing."""
    folder = tmp_path_factory.mktemp("s3")
    try:
        context = running_gateway(folder)
        gateway = context.__enter__()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    yield gateway
    context.__exit__(None, None, None)


@pytest.fixture
def s3_faults(s3: Gateway) -> Iterator[FaultProxy]:
    """Run a proxy with injectable faults in front of the S3 server."""
    with fault_proxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run one Kubernetes without kubelets for the session; *not run* where Go, root or namespaces are missing."""
    context = running_testbed(tmp_path_factory.mktemp("control-plane"), keep=True)
    try:
        testbed = context.__enter__()
    except ToolMissing as missing:
        pytest.skip(str(missing))
    yield testbed.control
    context.__exit__(None, None, None)


@pytest.fixture
def kube(control_plane: ControlPlane) -> Kube:
    """The admin's connection to the control plane of the session."""
    return control_plane.kube


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of this test alone, deleted after it."""
    name = f"test-{next(_NUMBERS)}"
    kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    kube.delete(f"/api/v1/namespaces/{name}")
