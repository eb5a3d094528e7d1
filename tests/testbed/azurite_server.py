"""A real server of Azure's blob storage (Azurite, objects in memory) on a free loopback port, which checks keys."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed.children import start_tied, stop
from testbed.gateway import free_port
from testbed.registry_packages import AZURITE, installed
from testbed.store_server import answers, await_ready, write_secret

ACCOUNT = "testbed"
_NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class AzuriteServer:
    """A running server with one account."""

    endpoint: str
    key: str = field(repr=False)

    def bucket(self) -> str:
        """Create a fresh container and return its URL."""
        name = f"container-{os.getpid()}-{next(_NUMBERS)}"
        asyncio.run(self._create(name))
        return f"az://{name}"

    def through(self, url: str, endpoint: str) -> str:
        """Return the URL as it is: the environment names the server."""
        del endpoint
        return url

    def environment(self, *, endpoint: str | None = None) -> dict[str, str]:
        """Return the usual variables for this server, or for a proxy in front of it."""
        return {
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": self.key,
            "AZURE_STORAGE_SERVICE_ENDPOINT": f"{endpoint or self.endpoint}/{ACCOUNT}",
        }

    def connection_string(self) -> str:
        """Return the same as one value."""
        place = f"BlobEndpoint={self.endpoint}/{ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};{place};"

    def secret(self, folder: Path, *, endpoint: str | None = None) -> Path:
        """Write a secret folder for this server and return it."""
        return write_secret(folder, self.environment(endpoint=endpoint))

    async def _create(self, name: str) -> None:
        from azure.storage.blob.aio import BlobServiceClient

        async with BlobServiceClient.from_connection_string(self.connection_string()) as client:
            await client.create_container(name)


@contextmanager
def running_azurite(folder: Path) -> Iterator[AzuriteServer]:
    """Run a server whose log is in `folder`; `ToolMissing` where it cannot be installed."""
    main = installed(AZURITE) / "node_modules/azurite/dist/src/blob/main.js"
    server = AzuriteServer(
        endpoint=f"http://127.0.0.1:{free_port()}", key=base64.b64encode(secrets.token_bytes(64)).decode()
    )
    place = ["--blobHost", "127.0.0.1", "--blobPort", server.endpoint.rpartition(":")[2]]
    options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{server.key}"}
    process = start_tied(["node", str(main), *place, *options], environment=environment, log=folder / "log")
    await_ready(process, lambda: answers(server.endpoint), folder / "log")
    try:
        yield server
    finally:
        stop(process)
