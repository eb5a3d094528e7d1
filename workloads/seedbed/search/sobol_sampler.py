"""Sobol sampler: trials that fill the space evenly, each a function of seed and index.

Sobol' sequence with the direction numbers of S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better
two-dimensional projections" (2008; new-joe-kuo-6.21201), scrambled as by A. B. Owen, "Randomly permuted
(t,m,s)-nets and (t,s)-sequences" (1995): each bit is flipped by a hash of the bits above it. Only integers,
so that no version of a library and no machine can change a proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from seedbed.search.search_space import Assignments, assign_values, random_bits, value_at
from seedbed.search.trial_decisions import DecidedTrial
from seedbed_api.sweepjob import Parameter

BITS: Final = 32

# Of each dimension after the first: a primitive polynomial, as bits from the highest power down, and as many
# first direction numbers m_1, m_2, … as its degree.
_JOE_KUO: Final = (
    (3, (1,)),
    (7, (1, 3)),
    (11, (1, 3, 1)),
    (13, (1, 1, 1)),
    (19, (1, 1, 3, 3)),
    (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)),
    (41, (1, 1, 5, 5, 5)),
    (47, (1, 1, 7, 11, 19)),
    (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)),
    (61, (1, 3, 5, 5, 31)),
    (67, (1, 3, 3, 9, 7, 49)),
    (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)),
    (103, (1, 1, 1, 15, 7, 5)),
    (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)),
    (131, (1, 3, 7, 11, 23, 15, 103)),
    (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)),
    (145, (1, 3, 5, 9, 1, 25, 53)),
    (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)),
    (171, (1, 1, 5, 11, 19, 41, 61)),
    (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)),
    (193, (1, 3, 7, 5, 13, 19, 59)),
    (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)),
    (213, (1, 3, 7, 3, 13, 59, 17)),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SobolSampler:
    """Scrambled Sobol' sequence; dimension n belongs to parameter n."""

    parameters: tuple[Parameter, ...]
    seed: int
    total: int

    def trials_needed(self, index: int) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def propose(self, index: int, decided: Sequence[DecidedTrial] = ()) -> Assignments:  # noqa: ARG002
        """Return the values of a trial."""
        dimensions = {parameter.name: number for number, parameter in enumerate(self.parameters)}
        return assign_values(
            self.parameters, lambda parameter: self._value(index, dimensions[parameter.name], parameter)
        )

    def _value(self, index: int, dimension: int, parameter: Parameter) -> str:
        high = scramble(sobol_coordinate(index, dimension), self.seed, parameter.name)
        low = random_bits("sobol within", self.seed, index, parameter.name) >> BITS
        return value_at(parameter.search_space, high << BITS | low)


def sobol_coordinate(index: int, dimension: int) -> int:
    """Return a coordinate of point `index`, below 2^32; points are in the order of Gray codes."""
    bits, result = index ^ (index >> 1), 0
    for direction in _directions(dimension):
        if not bits:
            break
        result ^= direction * (bits & 1)
        bits >>= 1
    return result


def scramble(value: int, seed: int, label: str) -> int:
    """Return a coordinate with each bit flipped, or not, by a hash of all bits above it."""
    result = 0
    for bit in reversed(range(BITS)):
        above = value >> (bit + 1)
        flip = random_bits("sobol", seed, label, bit, above) & 1
        result = result << 1 | ((value >> bit & 1) ^ flip)
    return result


@lru_cache
def _directions(dimension: int) -> tuple[int, ...]:
    if dimension == 0:
        return tuple(1 << (BITS - 1 - place) for place in range(BITS))
    polynomial, first = _JOE_KUO[dimension - 1]
    degree = polynomial.bit_length() - 1
    numbers = [number << (BITS - 1 - place) for place, number in enumerate(first)]
    for place in range(degree, BITS):
        number = numbers[place - degree] ^ (numbers[place - degree] >> degree)
        for power in range(1, degree):
            if polynomial >> (degree - power) & 1:
                number ^= numbers[place - power]
        numbers.append(number)
    return tuple(numbers)
