"""Connections from a loopback port of the machine into the network namespace of a box."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_CLONE_NEWNET = 0x40000000


async def serve_relay(pid: int, address: str) -> int:
    """Listen on a free loopback port for connections to `address` as seen by process `pid`; return the port."""
    host, _, port = address.rpartition(":")
    # A socket stays in the namespace of the thread that made it, whoever uses it later.
    inside = ThreadPoolExecutor(1, f"inside-{pid}", initializer=_enter_network, initargs=(pid,))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError, asyncio.CancelledError):  # cancelled when the box ends
            line = await loop.run_in_executor(inside, socket.socket, socket.AF_INET)
            line.setblocking(False)
            try:
                await loop.sock_connect(line, (host, int(port)))
            except OSError:
                line.close()
                raise
            up, down = await asyncio.open_connection(sock=line)
            await asyncio.gather(_pump(reader, down), _pump(up, writer))
        writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


def _enter_network(pid: int) -> None:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns into the network of the box")
    os.close(namespace)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until either side ends; then end the other, so that watches do not hang on a dead server."""
    with suppress(OSError):
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
    writer.close()
