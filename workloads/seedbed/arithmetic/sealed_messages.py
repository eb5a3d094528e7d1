"""Messages between ranks, sealed with the key of their group: without it nobody can send, change or read one.

gloo accepts any connection to its port. AES-256-GCM costs about as much as a copy of the message.
"""

from __future__ import annotations

from typing import Any

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
TAG_BYTES = 16


class ForeignMessageError(RuntimeError):
    """A message was not sent by the rank that it seems to come from, or not as it arrived."""


def derive_key(secret: bytes, *, salt: bytes, purpose: str) -> bytes:
    """Return a key of KEY_BYTES bytes from a secret by HKDF with SHA-256 (RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt, purpose.encode()).derive(secret)


class MessageSeal:
    """Seals and opens the messages of one rank in one direction each to and from every other rank.

    A key holds for a pair of sender and receiver, and its nonce is the number of the message. So a message
    opens at one place alone: from this sender, to this receiver, in this group, at its place in the order.
    """

    def __init__(self, group_key: bytes, *, rank: int, world: int) -> None:
        assert len(group_key) == KEY_BYTES
        self._rank, self._world, self._group_key = rank, world, group_key
        self._ciphers: dict[tuple[int, int], AESGCM] = {}
        self._counts: dict[tuple[int, int], int] = {}

    def seal(self, message: torch.Tensor, peer: int, sealed: torch.Tensor) -> None:
        """Write the sealed bytes of a contiguous CPU tensor to a peer into `sealed`, TAG_BYTES longer."""
        cipher, nonce = self._next(self._rank, peer)
        cipher.encrypt_into(nonce, _octets(message), None, _octets(sealed))

    def open(self, sealed: torch.Tensor, peer: int, message: torch.Tensor) -> None:
        """Write the message in `sealed` from a peer into a contiguous CPU tensor.

        Raises ForeignMessageError naming the peer; `message` then holds nothing that may be used.
        """
        cipher, nonce = self._next(peer, self._rank)
        try:
            cipher.decrypt_into(nonce, _octets(sealed), None, _octets(message))
        except InvalidTag:
            number = int.from_bytes(nonce, "big")
            raise ForeignMessageError(
                f"message {number} from worker {peer} to worker {self._rank} was not sealed with the key of "
                "this group: another process sent or changed it"
            ) from None

    def _next(self, sender: int, receiver: int) -> tuple[AESGCM, bytes]:
        """Return cipher and nonce of the next message; a nonce is used once."""
        pair = sender, receiver
        if pair not in self._ciphers:
            purpose = f"seedbed exchange: {sender} to {receiver} of {self._world}"
            self._ciphers[pair] = AESGCM(derive_key(self._group_key, salt=b"", purpose=purpose))
        number = self._counts.get(pair, 0)
        self._counts[pair] = number + 1
        return self._ciphers[pair], number.to_bytes(12, "big")


class Arena:
    """Memory for the sealed messages of one transfer, which the next transfer uses again."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def slices(self, sizes: list[int]) -> list[torch.Tensor]:
        """Return one uint8 tensor per size."""
        if self._memory.numel() < sum(sizes):
            self._memory = torch.zeros(sum(sizes), dtype=torch.uint8)
        return list(torch.split(self._memory[: sum(sizes)], sizes))


def sealed_bytes(message: torch.Tensor) -> int:
    """Return the length of a message once it is sealed."""
    return message.numel() * message.element_size() + TAG_BYTES


def _octets(tensor: torch.Tensor) -> Any:
    return tensor.view(torch.uint8).numpy()
