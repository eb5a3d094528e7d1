"""Axes of a search space: position of a value from 0 to 1, ticks and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.report.line_chart import format_number, nice_range
from seedbed_api.sweepjob import Parameter

MOST_TICKS = 12
_LONGEST_LABEL = 18
_APART = 0.07


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A labelled value on an axis."""

    place: float
    """0 (bottom) to 1 (top)."""
    text: str
    whole: str = ""
    """The value unshortened, where it was shortened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A numeric axis between two bounds; values beyond a bound are placed at it."""

    low: float
    high: float
    logarithmic: bool = False
    downwards: bool = False
    """Whether the lowest value is on top."""

    def place(self, value: float) -> float:
        """Return the position of a number, 0 to 1; 0.5 if the bounds are equal."""
        low, high, at = (self._transformed(number) for number in (self.low, self.high, value))
        share = 0.5 if high <= low else min(max((at - low) / (high - low), 0.0), 1.0)
        return 1.0 - share if self.downwards else share

    def ticks(self, *, whole: bool = False) -> list[Tick]:
        """Return the bounds and round numbers between them, none too close to another."""
        ticks: list[Tick] = []
        for number in [self.low, self.high, *self._between(whole=whole)]:
            place = self.place(number)
            if all(abs(place - tick.place) >= _APART for tick in ticks):
                ticks.append(Tick(place=place, text=format_number(number)))
        return ticks

    def _transformed(self, value: float) -> float:
        return math.log(max(value, 5e-324)) if self.logarithmic else value

    def _between(self, *, whole: bool) -> list[float]:
        if self.high <= self.low:
            return []
        if self.logarithmic:
            first, last = math.floor(math.log10(self.low)) + 1, math.ceil(math.log10(self.high))
            every = max(1, (last - first) // 8)
            return [10.0**power for power in range(first, last, every)]
        ticks = nice_range(self.low, self.high, whole=whole).ticks
        return [tick for tick in ticks if self.low < tick < self.high]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """A categorical axis: values in the order of the spec, the first on top."""

    values: Sequence[str]

    def place(self, value: str) -> float:
        """Return the position of a value, 0 to 1."""
        return 1.0 - (self.values.index(value) + 0.5) / len(self.values)

    def ticks(self) -> list[Tick]:
        """Return ticks for the values, at most MOST_TICKS, evenly spaced."""
        every = -(-len(self.values) // MOST_TICKS)
        return [
            Tick(
                place=self.place(value),
                text=shortened(value),
                whole=value if shortened(value) != value else "",
            )
            for value in self.values[::every]
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterAxis:
    """The axis of a parameter."""

    name: str
    scale: Scale | Options
    whole: bool = False
    """Whether its values are whole numbers."""

    def place(self, value: str) -> float:
        """Return the position of a value of the parameter, 0 to 1."""
        return self.scale.place(value) if isinstance(self.scale, Options) else self.scale.place(float(value))

    def ticks(self) -> list[Tick]:
        """Return the labelled values of the axis."""
        return self.scale.ticks() if isinstance(self.scale, Options) else self.scale.ticks(whole=self.whole)


def axis_of(parameter: Parameter) -> ParameterAxis:
    """Return the axis of a parameter; it shows the whole search space, not only tried values."""
    space = parameter.search_space
    if space.categorical is not None:
        return ParameterAxis(name=parameter.name, scale=Options(values=space.categorical.values))
    if space.int_ is not None:
        scale = Scale(low=float(space.int_.min), high=float(space.int_.max))
        return ParameterAxis(name=parameter.name, scale=scale, whole=True)
    bounds = space.log_uniform or space.uniform
    assert bounds is not None
    logarithmic = space.log_uniform is not None
    return ParameterAxis(
        name=parameter.name,
        scale=Scale(low=float(bounds.min), high=float(bounds.max), logarithmic=logarithmic),
    )


def shortened(text: str, most: int = _LONGEST_LABEL) -> str:
    """Return a text of bounded length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
