"""HTTP sessions of S3 that follow no redirect.

aiohttp would follow it and send the session token along. botocore expects the answer itself if it names the
region of the bucket, and asks again, signed anew. Without a region it would ask for it without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from seedbed.storage.http_guard import RefusedPlace
from seedbed.storage.storage_urls import printable_url

_REGION = "x-amz-bucket-region"


class S3Session(AIOHTTPSession):  # type: ignore[misc]
    """The sessions of aiobotocore, without redirects."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _WithoutRedirects(await super()._get_session(proxy_url))


@dataclass(frozen=True)
class _WithoutRedirects:
    session: aiohttp.ClientSession

    async def request(self, method: str, **options: Any) -> aiohttp.ClientResponse:
        """Send a request. Raises RefusedPlace where the answer is a redirect that names no region."""
        response = await self.session.request(method, allow_redirects=False, **options)
        if 300 < response.status < 309 and response.status != 304 and _REGION not in response.headers:
            response.close()
            target = printable_url(response.headers.get("Location", "").partition("?")[0])
            raise RefusedPlace(f"the endpoint redirects ({response.status}) to {target!r}")
        return response
