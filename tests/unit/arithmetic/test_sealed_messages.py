"""A sealed message opens at one place: from its sender, to its receiver, in its group, at its place in the order."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.arithmetic.sealed_messages import (
    KEY_BYTES,
    Arena,
    ForeignMessageError,
    MessageSeal,
    derive_key,
    sealed_bytes,
)

KEY = bytes(range(KEY_BYTES))


def sealed(seal: MessageSeal, message: torch.Tensor, peer: int) -> torch.Tensor:
    box = torch.zeros(sealed_bytes(message), dtype=torch.uint8)
    seal.seal(message, peer, box)
    return box


def opened(seal: MessageSeal, box: torch.Tensor, peer: int, like: torch.Tensor) -> torch.Tensor:
    message = torch.zeros_like(like)
    seal.open(box, peer, message)
    return message


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_message_arrives_bit_for_bit(dtype: torch.dtype) -> None:
    sender, receiver = MessageSeal(KEY, rank=0, world=2), MessageSeal(KEY, rank=1, world=2)
    for length in (0, 1, 1000):
        message = torch.arange(length).to(dtype)
        assert torch.equal(opened(receiver, sealed(sender, message, 1), 0, message), message)


def test_not_a_bit_of_a_float_moves() -> None:
    bits = torch.tensor([0, -(2**31), 1, 0x7FC00001, 0x7F800001, 0x7F800000, 0x00000001], dtype=torch.int64)
    message = bits.to(torch.int32).view(torch.float32)
    sender, receiver = MessageSeal(KEY, rank=0, world=2), MessageSeal(KEY, rank=1, world=2)
    arrived = opened(receiver, sealed(sender, message, 1), 0, message)
    assert torch.equal(arrived.view(torch.int32), message.view(torch.int32))


@settings(max_examples=50, deadline=None)
@given(bit=st.integers(0, 8 * (40 + 16) - 1))
def test_any_changed_bit_is_noticed(bit: int) -> None:
    message = torch.arange(10, dtype=torch.float32)
    box = sealed(MessageSeal(KEY, rank=0, world=2), message, 1)
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ForeignMessageError, match=r"message 0 from worker 0 to worker 1 was not sealed"):
        opened(MessageSeal(KEY, rank=1, world=2), box, 0, message)


OTHERS = {
    "the key of another group": (derive_key(KEY, salt=b"n", purpose="x"), 0, 1, 3),
    "another sender": (KEY, 2, 1, 3),
    "another receiver": (KEY, 0, 2, 3),
    "another number of workers": (KEY, 0, 1, 4),
    "its own message back": (KEY, 1, 0, 3),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_message_for_another_place_does_not_open(name: str) -> None:
    key, sender, receiver, world = OTHERS[name]
    message = torch.ones(5)
    box = sealed(MessageSeal(key, rank=sender, world=world), message, receiver)
    with pytest.raises(ForeignMessageError, match="from worker 0 to worker 1"):
        opened(MessageSeal(KEY, rank=1, world=3), box, 0, message)


@pytest.mark.parametrize("order", [each for each in itertools.permutations(range(3)) if each != (0, 1, 2)])
def test_messages_open_in_their_order_alone(order: tuple[int, ...]) -> None:
    sender, receiver = MessageSeal(KEY, rank=0, world=2), MessageSeal(KEY, rank=1, world=2)
    messages = [torch.full((3,), float(number)) for number in range(3)]
    boxes = [sealed(sender, message, 1) for message in messages]

    def all_in_order() -> None:
        for number in order:
            opened(receiver, boxes[number], 0, messages[0])

    with pytest.raises(ForeignMessageError):
        all_in_order()


def test_no_two_messages_have_the_same_bytes() -> None:
    seal, message = MessageSeal(KEY, rank=0, world=3), torch.zeros(8)
    boxes = [sealed(seal, message, peer).numpy().tobytes() for peer in (1, 2) for _ in range(50)]
    assert len(set(boxes)) == len(boxes)


@pytest.mark.parametrize("change", [{"salt": b"b"}, {"purpose": "q"}])
def test_a_key_depends_on_salt_and_purpose(change: dict[str, object]) -> None:
    one = {"salt": b"a", "purpose": "p"}
    assert derive_key(b"token", **one) != derive_key(b"token", **(one | change))  # type: ignore[arg-type]
    assert derive_key(b"token", **one) != derive_key(b"tokem", **one)  # type: ignore[arg-type]


def test_slices_of_memory_do_not_overlap() -> None:
    arena = Arena()
    for sizes in ([3, 4], [1, 2, 9], [2]):
        for number, piece in enumerate(pieces := arena.slices(sizes)):
            piece.fill_(number)
        assert [piece.tolist() for piece in pieces] == [[n] * size for n, size in enumerate(sizes)]
