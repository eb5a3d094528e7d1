"""The stores that tests of this tier go through, each a real server for the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from testbed.azurite_server import running_azurite
from testbed.faults import FaultProxy, fault_proxy
from testbed.gcs_server import running_gcs
from testbed.hdfs_server import running_hdfs
from testbed.store_server import StoreServer

SERVERS = {"gs": running_gcs, "az": running_azurite, "webhdfs": running_hdfs}
HEAVY = pytest.mark.exhaustive


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StoreServer]]:
    """The servers that run already, by scheme; they end with the session."""
    with ExitStack() as stack:
        servers = _Servers(stack, tmp_path_factory)
        yield servers


class _Servers(dict[str, StoreServer]):
    """Servers started when they are first asked for."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self.stack, self.folders = stack, folders

    def __missing__(self, scheme: str) -> StoreServer:
        self[scheme] = self.stack.enter_context(SERVERS[scheme](self.folders.mktemp(scheme)))
        return self[scheme]


@pytest.fixture(params=["gs", "az", pytest.param("webhdfs", marks=HEAVY)])
def server(request: pytest.FixtureRequest, running: dict[str, StoreServer]) -> StoreServer:
    """A server of each kind in turn; *not run* where it cannot be had."""
    return running[request.param]


@pytest.fixture
def faults(server: StoreServer) -> Iterator[FaultProxy]:
    """A proxy with injectable faults in front of the server."""
    with fault_proxy(server.endpoint) as proxy:
        yield proxy
