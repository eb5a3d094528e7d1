"""A bound on the connections of a server and on the time of each, for ports that strangers reach.

Driver and operator have the same file: the planes share no code that does I/O. Uses no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Connections = dict["LimitedConnection", None]


class ConnectionLimit:
    """Makes the protocols of a server, of which at most `most` are open, each for at most `seconds`.

    Where there are more, the address with most connections loses its oldest one: a client that opens
    thousands of connections closes its own, and not those of others.
    """

    def __init__(self, server: Callable[[], asyncio.Protocol], *, most: int, seconds: float) -> None:
        self._server, self._most, self._seconds = server, most, seconds
        self._by_address: dict[str, Connections] = {}
        self._count = 0

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of one connection."""
        return LimitedConnection(self, self._server())

    def add(self, connection: LimitedConnection) -> None:
        """Count a connection, and close one where there are too many."""
        self._by_address.setdefault(connection.address, {})[connection] = None
        self._count += 1
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(self._seconds, connection.close)
        if self._count > self._most:
            busiest = max(self._by_address.values(), key=len)
            next(iter(busiest)).close()

    def remove(self, connection: LimitedConnection) -> None:
        """Count a connection no more."""
        of_address = self._by_address.get(connection.address, {})
        if connection in of_address:
            del of_address[connection]
            self._count -= 1
            if not of_address:
                del self._by_address[connection.address]


class LimitedConnection(asyncio.Protocol):
    """One connection: passes everything on to the server's own protocol."""

    timer: asyncio.TimerHandle
    address = ""

    def __init__(self, limit: ConnectionLimit, inner: asyncio.Protocol) -> None:
        self._limit, self._inner = limit, inner
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""
        self._inner.connection_made(transport)
        self._limit.add(self)

    def close(self) -> None:
        """Close at once, whatever is still to be sent; count it no more."""
        self._limit.remove(self)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.timer.cancel()
        self._limit.remove(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self._inner.data_received(data)

    def eof_received(self) -> bool:
        """Keep the other direction open: a client may have said all and wait for the answer."""
        self._inner.eof_received()
        return True

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()
