"""What a process that was not asked does to a rank's messages; tasks of a worker group."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch

from seedbed.arithmetic import subtree_exchange
from seedbed.arithmetic.reduction_tree import leaf_ranges, subtrees
from seedbed.arithmetic.sealed_messages import KEY_BYTES, MessageSeal
from seedbed.arithmetic.subtree_exchange import Exchange, ExchangeError, Messages, PointToPointExchange, greet

LEAVES = 4
STEPS = 3


def total_of_steps(exchange: Exchange, _argument: Any = None) -> list[float]:
    """Return the sums of some steps: 6, 12, 18."""
    return [_sum(exchange, step) for step in range(1, STEPS + 1)]


def _sum(exchange: Exchange, step: int) -> float:
    own = leaf_ranges(LEAVES, exchange.world)[exchange.rank]
    parts = {
        node: [torch.full((1000,), float(step * sum(range(*node))))]
        for node in subtrees(own.start, own.stop, LEAVES)
    }
    return float(exchange.reduce(parts, leaves=LEAVES)[0].mean())


def error_of(exchange: Exchange, argument: tuple[str, int]) -> str:
    """Let one rank be foreign in one way; return the error that this rank ends with, else its sums."""
    way, foreign = argument
    assert isinstance(exchange, PointToPointExchange)
    if exchange.rank == foreign:
        WAYS[way](exchange)
    try:
        exchange.gather_bytes(b"first")
        return str(total_of_steps(exchange))
    except ExchangeError as error:
        return str(error)


def sums_without_a_seal(exchange: Exchange, foreign: int) -> list[float]:
    """Return the sums of a group that seals nothing, while one rank sends other numbers."""
    assert isinstance(exchange, PointToPointExchange)
    exchange._seal = None
    post = subtree_exchange._post

    def post_others(sends: Messages, receives: Messages) -> None:
        post([(torch.full_like(message, 7), peer) for message, peer in sends], receives)

    with mock.patch.object(subtree_exchange, "_post", post_others if exchange.rank == foreign else post):
        return total_of_steps(exchange)


def greeting_error_of(exchange: Exchange, argument: tuple[str, int]) -> str:
    """Let all ranks greet each other, one with another key or not at all; return this rank's error."""
    way, foreign = argument
    if exchange.rank == foreign and way == "silent":
        return ""
    try:
        greet(bytes(KEY_BYTES) if exchange.rank == foreign else bytes(range(KEY_BYTES)), seconds=3)
    except ExchangeError as error:
        return str(error)
    return ""


def _another_key(exchange: PointToPointExchange) -> None:
    exchange._seal = MessageSeal(bytes(KEY_BYTES), rank=exchange.rank, world=exchange.world)


def _of_another_rank(exchange: PointToPointExchange) -> None:
    assert exchange._seal is not None
    exchange._seal._rank = (exchange.rank + 1) % exchange.world


class _Tampered:
    """A seal whose messages are changed after they were sealed."""

    def __init__(self, seal: MessageSeal | None, change: Any) -> None:
        assert seal is not None
        self._change, self.open, self._seal = change, seal.open, seal
        self._sent: dict[int, list[torch.Tensor]] = {}

    def seal(self, message: torch.Tensor, peer: int, sealed: torch.Tensor) -> None:
        self._seal.seal(message, peer, sealed)
        sent = self._sent.setdefault(peer, [])
        sent.append(sealed.clone())
        self._change(sealed, sent[:-1])


def _flip_a_bit(sealed: torch.Tensor, sent: list[torch.Tensor]) -> None:
    if len(sent) >= 2:
        sealed[sealed.numel() // 2] ^= 1


def _send_again(sealed: torch.Tensor, sent: list[torch.Tensor]) -> None:
    earlier = [each for each in sent if each.numel() == sealed.numel()]
    if earlier:
        sealed.copy_(earlier[-1])


def _send_zeros(sealed: torch.Tensor, _sent: list[torch.Tensor]) -> None:
    sealed.zero_()


def _tampering(change: Any) -> Any:
    def plant(exchange: PointToPointExchange) -> None:
        exchange._seal = _Tampered(exchange._seal, change)  # type: ignore[assignment]

    return plant


WAYS = {
    "another key": _another_key,
    "the key of another rank": _of_another_rank,
    "a changed bit": _tampering(_flip_a_bit),
    "a message sent again": _tampering(_send_again),
    "zeros": _tampering(_send_zeros),
}


def ports_of_gloo(_exchange: Exchange, _argument: Any) -> list[int]:
    """Return the ports at which this process listens."""
    found = psutil.Process().net_connections(kind="tcp")
    return [each.laddr.port for each in found if each.status == psutil.CONN_LISTEN]


def ports_below(pid: int) -> Iterator[int]:
    """Yield the ports at which the children of a process listen."""
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            for each in process.net_connections(kind="tcp"):
                if each.status == psutil.CONN_LISTEN:
                    yield each.laddr.port


@contextlib.contextmanager
def connected(port: int, contents: list[bytes]) -> Iterator[list[socket.socket]]:
    """Connect to a port as often as there are contents to send, and hold the connections."""
    held = []
    try:
        for content in contents:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            held.append(connection)
            with contextlib.suppress(OSError):
                connection.sendall(content)
        yield held
    finally:
        for connection in held:
            connection.close()


def guesses(count: int) -> list[bytes]:
    """Return what a stranger may send to gloo: numbers of connections, then a header with a huge length."""
    numbers = np.arange(count, dtype="<u8")
    return [number.tobytes() + b"\xff" * 64 for number in numbers]
