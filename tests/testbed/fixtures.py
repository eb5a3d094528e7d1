"""Pytest fixtures of the testbed; `tests/conftest.py` imports them for every tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbed.builds import ToolMissing
from testbed.faults import FaultProxy, fault_proxy
from testbed.gateway import Gateway, running_gateway


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
