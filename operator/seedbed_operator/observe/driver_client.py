"""HTTP client for the progress of drivers, which run user code: responses must be small, quick and valid."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import Final, Protocol

import aiohttp
from pydantic import ValidationError

from seedbed_api.pod_contract.driver_endpoint import JOB_UID_HEADER, PROGRESS_PATH, PROGRESS_PORT
from seedbed_api.pod_contract.driver_messages import LiveProgress

MAX_BYTES: Final = 64 * 1024
TIMEOUT_SECONDS: Final = 3.0
CONNECT_SECONDS: Final = 1.0
"""Within a cluster a connection takes milliseconds, or comes to nothing."""
MAX_CONNECTIONS: Final = 128
"""As many as `DriverPolls` asks at once."""

log = logging.getLogger(__name__)


class DriverClient(Protocol):
    """Reads the progress of drivers."""

    async def get_progress(self, address: str, job_uid: str) -> LiveProgress | None:
        """Return the progress of a job's driver at an IP address; None without a valid response."""


class HttpDriverClient:
    """DriverClient over HTTP."""

    def __init__(
        self,
        *,
        port: int = PROGRESS_PORT,
        seconds: float = TIMEOUT_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._port = port
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, force_close=True),
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=connect_seconds),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get_progress(self, address: str, job_uid: str) -> LiveProgress | None:
        """Return the progress of a job's driver at an IP address; None without a valid response."""
        try:
            progress = LiveProgress.model_validate_json(await self._fetch(address, job_uid))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ValidationError) as error:
            log.debug("no progress from %s: %s", address, type(error).__name__)
            return None
        if progress.job_uid != job_uid:
            log.info("the driver at %s belongs to another job, its progress is ignored", address)
            return None
        return progress

    async def _fetch(self, address: str, job_uid: str) -> bytes:
        pod = ip_address(address)
        if pod.is_link_local or pod.is_multicast or pod.is_unspecified:
            raise ValueError("no address of a pod")
        host = f"[{address}]" if pod.version == 6 else address
        url = f"http://{host}:{self._port}{PROGRESS_PATH}"
        async with self._session.get(
            url, headers={JOB_UID_HEADER: job_uid}, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return await _read_at_most(response.content, MAX_BYTES)


async def _read_at_most(stream: aiohttp.StreamReader, most: int) -> bytes:
    content = bytearray()
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > most:
            raise ValueError(f"more than {most} bytes")
    return bytes(content)
