"""Mutations of valid bytes and of valid JSON: what a stranger, or a broken disk, makes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

EDGES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""Numbers at which lengths, offsets and counts overflow."""


def mutated_bytes(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds after one to four changes."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 4)):
        random.choice(_BYTE_CHANGES)(random, data, seeds)
    return bytes(data)


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    place = random.randrange(len(data) + 1)
    data[place : place + random.randint(1, 16)] = random.randbytes(random.randint(0, 16))


def _number(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Write a number at which something overflows, in any width and order of bytes."""
    width = random.choice((1, 2, 4, 8))
    value = random.choice(EDGES) % (1 << 8 * width)
    place = random.randrange(len(data) + 1)
    data[place : place + width] = value.to_bytes(width, random.choice(("little", "big")))


def _cut(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    place = random.randrange(len(data) + 1)
    part = data[place : place + random.randint(1, 64)]
    data[place:place] = part * random.randint(1, 8)


def _splice(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = random.choice(seeds)
    place = random.randrange(len(other) + 1)
    data[random.randrange(len(data) + 1) :] = other[place:]


_BYTE_CHANGES: tuple[Callable[[Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip,
    _flip,
    _overwrite,
    _number,
    _number,
    _cut,
    _repeat,
    _splice,
)


def mutated_json(random: Random, document: Any) -> Any:
    """Return a JSON document after one to three changes of its values, keys or shape."""
    changed = copy.deepcopy(document)
    for _ in range(random.randint(1, 3)):
        places = list(_places(changed))
        if places:
            holder, key = random.choice(places)
            _change(random, holder, key)
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def _change(random: Random, holder: Any, key: Any) -> None:
    kind = random.randrange(4)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[_odd_text(random)] = holder.pop(key)
    elif kind == 2 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * random.choice((1, 2, 50))
    else:
        holder[key] = _odd_value(random)


def _odd_value(random: Random) -> Any:
    return random.choice(
        (
            None,
            True,
            False,
            [],
            {},
            [[]],
            {"": {}},
            random.choice(EDGES),
            -random.choice(EDGES),
            0.5,
            -1.0,
            _odd_text(random),
            [_odd_text(random)] * random.randint(1, 40),
        )
    )


def _odd_text(random: Random) -> str:
    return random.choice(
        (
            "",
            "0",
            "-1",
            "1e9",
            "NaN",
            "../..",
            "/etc/passwd",
            "\0",
            "a\nb",
            "\x1b[2J",
            "\u202e",
            "é" * 300,
            "sha256:",
            "sha256:" + "0" * 64,
            "x" * 5_000,
            "9" * 5_000,
        )
    )


def nested(random: Random) -> bytes:
    """Return JSON that is nested deeper than anybody needs, sometimes deeper than a parser can."""
    depth = random.choice((40, 200, 2_000, 100_000))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
    return f"{opening * depth}1{closing * depth}".encode()


def mutated_text(random: Random, document: Any) -> bytes:
    """Return the JSON text of a mutated document, now and then mutated as bytes or nested."""
    if random.random() < 0.01:
        return nested(random)
    text = json.dumps(mutated_json(random, document)).encode()
    return mutated_bytes(random, [text]) if random.random() < 0.3 else text
