"""Exchange of subtrees between workers: added point to point in tree order, so that bits do not depend on W.

Uses no all-reduce: its order of float additions depends on W, bucket and offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from seedbed.arithmetic.flat_vector import Layout, layout_of
from seedbed.arithmetic.leaf_gradient import Contribution, add_contributions
from seedbed.arithmetic.reduction_tree import Node, fold, leaf_ranges, subtrees
from seedbed.arithmetic.sealed_messages import (
    Arena,
    ForeignMessageError,
    MessageSeal,
    derive_key,
    sealed_bytes,
)

Parts: TypeAlias = Mapping[Node, Contribution]
Messages: TypeAlias = Sequence[tuple[torch.Tensor, int]]
"""Tensors, each with the rank that it goes to or comes from."""
R = TypeVar("R")


class ExchangeError(RuntimeError):
    """A peer died or did not answer before the timeout of the group, or a message is not from a peer."""


class Exchange(Protocol):
    """What a step and an evaluation need of the other workers."""

    rank: int
    world: int

    def reduce(self, parts: Parts, *, leaves: int) -> Contribution:
        """Return the sum over all leaves in tree order, the same bits on every worker.

        `parts` are this worker's maximal subtrees; they may be overwritten. The result is valid until the
        next call.
        """

    def sum_counts(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the elementwise sum over all workers."""

    def any_of(self, flag: bool) -> bool:
        """Return whether any worker raised its flag; it makes all workers stop after the same step."""

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        """Return the payloads of all workers in rank order on rank 0, nothing elsewhere."""

    def broadcast_bytes(self, payload: bytes) -> bytes:
        """Return rank 0's payload on every worker."""

    def barrier(self) -> None:
        """Wait until every worker is here."""


class SingleProcessExchange:
    """One worker that owns all leaves."""

    rank = 0
    world = 1

    def reduce(self, parts: Parts, *, leaves: int) -> Contribution:
        """Return the one subtree."""
        return _total(parts, leaves)

    def sum_counts(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return `counts`."""
        return counts

    def any_of(self, flag: bool) -> bool:
        """Return `flag`."""
        return flag

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        """Return the one payload."""
        return [payload]

    def broadcast_bytes(self, payload: bytes) -> bytes:
        """Return `payload`."""
        return payload

    def barrier(self) -> None:
        """Return at once."""


class PointToPointExchange:
    """The workers of the initialised default process group of torch.distributed, gloo or NCCL.

    Its timeout is that of the group. With gloo the vectors are on the CPU, whatever the device of the model,
    and every message is sealed with `key`, which no other exchange may have used. NCCL's are not sealed.
    """

    def __init__(self, device: torch.device | str = "cpu", *, key: bytes | None) -> None:
        self.rank = dist.get_rank()
        self.world = dist.get_world_size()
        on_cpu = "nccl" not in dist.get_backend()
        assert key is not None or not on_cpu, "a group over gloo needs a key"
        self._device = torch.device("cpu") if on_cpu else torch.device(device)
        self._seal = MessageSeal(key, rank=self.rank, world=self.world) if key and on_cpu else None
        self._outgoing, self._incoming = Arena(), Arena()
        self._layout: Layout | None = None
        self._vectors: dict[str, torch.Tensor] = {}

    def reduce(self, parts: Parts, *, leaves: int) -> Contribution:
        """Return the sum over all leaves in tree order, the same bits on every worker."""
        owned = [subtrees(own.start, own.stop, leaves) for own in leaf_ranges(leaves, self.world)]
        assert list(parts) == owned[self.rank], f"worker {self.rank} holds {list(parts)}"
        first = next(iter(parts.values()))
        layout = self._laid_out(first)
        vectors = [self._packed(layout, index, part) for index, part in enumerate(parts.values())]
        total = self._guarded(lambda: self._sum(vectors, owned, leaves))
        views = layout.views(total)
        return views if self._device == first[0].device else [v.to(first[0].device) for v in views]

    def _laid_out(self, contribution: Contribution) -> Layout:
        shapes = tuple(tuple(tensor.shape) for tensor in contribution)
        if self._layout is None or self._layout.shapes != shapes:
            self._layout = layout_of(contribution, slices=self.world)
            self._vectors.clear()
        return self._layout

    def _packed(self, layout: Layout, index: int, part: Contribution) -> torch.Tensor:
        vector = self._vector(f"own {index}", layout.size)
        torch._foreach_copy_(layout.views(vector), part)
        return vector

    def _vector(self, name: str, size: int) -> torch.Tensor:
        if name not in self._vectors:
            self._vectors[name] = torch.zeros(size, dtype=torch.float32, device=self._device)
        return self._vectors[name]

    def _sum(self, vectors: list[torch.Tensor], owned: list[list[Node]], leaves: int) -> torch.Tensor:
        if is_balanced(owned):
            return self._by_halving_and_doubling(vectors[0])
        return self._by_subtrees(vectors, owned, leaves)

    def _by_halving_and_doubling(self, vector_n: torch.Tensor) -> torch.Tensor:
        """Add pairs of subtrees by recursive halving, then distribute the sums by recursive doubling."""
        size = vector_n.numel()
        received = self._vector("received", size // 2)
        start, stop, halves = 0, size, []
        distance = 1
        while distance < self.world:
            peer, middle = self.rank ^ distance, (start + stop) // 2
            lower, upper = (start, middle), (middle, stop)
            keep, give = (upper, lower) if self.rank & distance else (lower, upper)
            landing = received[: middle - start]
            self._transfer([(vector_n[slice(*give)], peer)], [(landing, peer)])
            vector_n[slice(*keep)].add_(landing)
            halves.append((peer, keep, give))
            (start, stop), distance = keep, distance * 2
        for peer, keep, give in reversed(halves):
            self._transfer([(vector_n[slice(*keep)], peer)], [(vector_n[slice(*give)], peer)])
        return vector_n

    def _by_subtrees(self, vectors: list[torch.Tensor], owned: list[list[Node]], leaves: int) -> torch.Tensor:
        """Fold 1/W of the vector from the subtrees of all workers, then distribute the folded slices."""
        size = vectors[0].numel()
        width = size // self.world
        slices = [slice(peer * width, (peer + 1) * width) for peer in range(self.world)]
        others = self._others()
        places = {
            node: (peer, self._vector(f"subtree {peer} {index}", width))
            for peer in others
            for index, node in enumerate(owned[peer])
        }
        sends = [(vector[slices[peer]], peer) for peer in others for vector in vectors]
        self._transfer(sends, [(place, peer) for peer, place in places.values()])
        mine = slices[self.rank]
        parts = {node: [v[mine]] for node, v in zip(owned[self.rank], vectors, strict=True)}
        parts |= {node: [place] for node, (_, place) in places.items()}
        total = self._vector("total", size)
        total[mine].copy_(_total(parts, leaves)[0])
        self._transfer([(total[mine], p) for p in others], [(total[slices[p]], p) for p in others])
        return total

    def _transfer(self, sends: Messages, receives: Messages) -> None:
        """Send and receive messages; none that the peer did not seal is returned from."""
        if self._seal is None:
            _post(sends, receives)
            return
        outgoing = self._outgoing.slices([sealed_bytes(message) for message, _ in sends])
        incoming = self._incoming.slices([sealed_bytes(message) for message, _ in receives])
        for (message, peer), sealed in zip(sends, outgoing, strict=True):
            self._seal.seal(message, peer, sealed)
        _post(_to_the_same(sends, outgoing), _to_the_same(receives, incoming))
        for (message, peer), sealed in zip(receives, incoming, strict=True):
            self._seal.open(sealed, peer, message)

    def sum_counts(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the elementwise sum over all workers."""
        rows = self._from_everyone(counts.reshape(-1))
        summed: npt.NDArray[np.int64] = rows.sum(axis=0, dtype=np.int64).reshape(counts.shape)
        return summed

    def any_of(self, flag: bool) -> bool:
        """Return whether any worker raised its flag."""
        return bool(self.sum_counts(np.array([flag], dtype=np.int64))[0])

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        """Return the payloads of all workers in rank order on rank 0, nothing elsewhere."""
        sizes = self._sizes(payload)
        boxes = [self._box(payload if rank == self.rank else bytes(size)) for rank, size in enumerate(sizes)]
        if self.rank != 0:
            self._guarded(lambda: self._transfer(_filled([(boxes[self.rank], 0)]), []))
            return []
        self._guarded(lambda: self._transfer([], _filled([(boxes[peer], peer) for peer in self._others()])))
        return [box.cpu().numpy().tobytes() for box in boxes]

    def broadcast_bytes(self, payload: bytes) -> bytes:
        """Return rank 0's payload on every worker."""
        size = self._sizes(payload)[0]
        box = self._box(payload if self.rank == 0 else bytes(size))
        sends = [(box, peer) for peer in self._others()] if self.rank == 0 else []
        receives = [] if self.rank == 0 else [(box, 0)]
        self._guarded(lambda: self._transfer(_filled(sends), _filled(receives)))
        return box.cpu().numpy().tobytes()

    def barrier(self) -> None:
        """Wait until every worker is here."""
        self._from_everyone(np.zeros(1, dtype=np.int64))

    def _others(self) -> list[int]:
        return [peer for peer in range(self.world) if peer != self.rank]

    def _sizes(self, payload: bytes) -> list[int]:
        return [int(size) for size in self._from_everyone(np.array([len(payload)], dtype=np.int64))[:, 0]]

    def _box(self, payload: bytes) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(payload, dtype=np.uint8).copy()).to(self._device)

    def _from_everyone(self, counts_n: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the counts of all workers, shape (W, n).

        Sends direct messages: a worker that waits for a dead peer fails at once, whereas the survivors of a
        ring collective wait for each other until the timeout.
        """
        assert counts_n.dtype == np.int64
        rows = torch.from_numpy(np.tile(counts_n, (self.world, 1))).to(self._device)
        own = rows[self.rank].clone()
        sends = [(own, peer) for peer in self._others()]
        self._guarded(lambda: self._transfer(sends, [(rows[peer], peer) for peer in self._others()]))
        array: npt.NDArray[np.int64] = rows.cpu().numpy()
        return array

    def _guarded(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except ForeignMessageError as error:
            raise ExchangeError(f"worker {self.rank} of {self.world}: {error}") from error
        except RuntimeError as error:
            raise ExchangeError(f"worker {self.rank} of {self.world} lost a peer: {error}") from error


def greet(key: bytes, *, seconds: float) -> None:
    """Exchange one sealed message with every other rank of the default group, which is over gloo.

    Raises ExchangeError if a rank does not answer in time: a stranger may have connected in its place.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    seal = MessageSeal(derive_key(key, salt=b"", purpose="greeting"), rank=rank, world=world)
    peers, hello = [peer for peer in range(world) if peer != rank], torch.zeros(1, dtype=torch.uint8)
    outgoing = [torch.zeros(sealed_bytes(hello), dtype=torch.uint8) for _ in peers]
    incoming = [torch.zeros_like(sealed) for sealed in outgoing]
    for peer, sealed in zip(peers, outgoing, strict=True):
        seal.seal(hello, peer, sealed)
    try:
        _post(list(zip(outgoing, peers, strict=True)), list(zip(incoming, peers, strict=True)), seconds)
        for peer, sealed in zip(peers, incoming, strict=True):
            seal.open(sealed, peer, hello)
    except RuntimeError as error:
        raise ExchangeError(f"worker {rank} of {world} has not met all others: {error}") from error


def is_balanced(owned: Sequence[Sequence[Node]]) -> bool:
    """Say whether every worker holds one subtree of equal size; then rank ^ 1, ^ 2, ^ 4 … are siblings.

    True where W and L are powers of two; a W that only divides L (2 of 6) is not enough.
    """
    sizes = {stop - start for nodes in owned for start, stop in nodes}
    world = len(owned)
    return len(sizes) == 1 and all(len(nodes) == 1 for nodes in owned) and world & (world - 1) == 0


def _post(sends: Messages, receives: Messages, seconds: float | None = None) -> None:
    """Send and receive; wait as long as the group, or so many seconds."""
    operations = [
        dist.P2POp(operation, tensor, peer, tag=tag)
        for operation, messages in ((dist.isend, sends), (dist.irecv, receives))
        for tag, (tensor, peer) in _numbered(messages)
    ]
    for work in dist.batch_isend_irecv(operations) if operations else []:
        work.wait() if seconds is None else work.wait(timedelta(seconds=seconds))


def _to_the_same(messages: Messages, others: Sequence[torch.Tensor]) -> Messages:
    return [(other, peer) for other, (_, peer) in zip(others, messages, strict=True)]


def _numbered(messages: Messages) -> list[tuple[int, tuple[torch.Tensor, int]]]:
    """Number the messages of each pair of workers; the n-th sent is the n-th received."""
    counts: dict[int, int] = {}
    numbered = []
    for message in messages:
        tag = counts.get(message[1], 0)
        counts[message[1]] = tag + 1
        numbered.append((tag, message))
    return numbered


def _filled(messages: Messages) -> list[tuple[torch.Tensor, int]]:
    """Drop empty messages: both sides know that there is nothing to send."""
    return [(tensor, peer) for tensor, peer in messages if tensor.numel()]


def _total(parts: Parts, leaves: int) -> Contribution:
    total = fold((0, leaves), parts, add_contributions)
    assert total is not None, "a step without leaves"
    return total
