"""The transforms of `training.augmentation`: exactly one decides the size; all work on integers per row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from seedbed_api.base_model import Block, Choice, Rule
from seedbed_api.bounded_lists import BoundedList, ListRule
from seedbed_api.decimal_strings import DecimalRange, Positive, Probability, Share
from seedbed_api.scalar_types import Integer

Pixels = Annotated[Integer, Field(ge=1, le=4096)]
Degrees = Annotated[str, DecimalRange(low="0", high="180", low_open=True)]
Ratio = Annotated[str, DecimalRange(low="0", high="100", low_open=True)]


def _cel_at_most(low: str, of_low: str, high: str, of_high: str) -> str:
    """Return the CEL of low <= high, where each may be left out for its default."""
    lesser, greater = (
        f"double(has(self.{name}) ? self.{name} : '{default}')"
        for name, default in ((low, of_low), (high, of_high))
    )
    return f"{lesser} <= {greater}"


class Resize(Block):
    """The shorter side is brought to a size, then the middle square is cut out."""

    size: Pixels
    """Side of the square in pixels."""


class RandomResizedCrop(Block):
    """A random rectangle is cut out and brought to a square."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="scaleMin",
            cel=_cel_at_most("scaleMin", "0.08", "scaleMax", "1"),
            holds=lambda crop: Decimal(crop.scale_min) <= Decimal(crop.scale_max),
            problem="must not be more than scaleMax",
            fix="exchange or correct the two",
        ),
        Rule(
            field="ratioMin",
            cel=_cel_at_most("ratioMin", "0.75", "ratioMax", "1.3333333333"),
            holds=lambda crop: Decimal(crop.ratio_min) <= Decimal(crop.ratio_max),
            problem="must not be more than ratioMax",
            fix="exchange or correct the two",
        ),
    )

    size: Pixels
    """Side of the square in pixels."""
    scale_min: Share = "0.08"
    """Smallest fraction of the image's area."""
    scale_max: Share = "1"
    """Largest fraction of the image's area."""
    ratio_min: Ratio = "0.75"
    """Smallest aspect ratio (width / height)."""
    ratio_max: Ratio = "1.3333333333"
    """Largest aspect ratio (width / height)."""


class HorizontalFlip(Block):
    """Left and right are exchanged at random."""

    probability: Probability = "0.5"
    """Probability of the flip."""


class VerticalFlip(Block):
    """Top and bottom are exchanged at random."""

    probability: Probability = "0.5"
    """Probability of the flip."""


class Rotation(Block):
    """The image is turned about its middle by a random angle; corners without image become black."""

    degrees: Degrees
    """Largest angle in degrees, in both directions."""


class ColorJitter(Block):
    """Brightness, contrast and saturation are multiplied by random factors."""

    brightness: Probability = "0"
    """Factor from 1 - brightness to 1 + brightness."""
    contrast: Probability = "0"
    """Factor from 1 - contrast to 1 + contrast."""
    saturation: Probability = "0"
    """Factor from 1 - saturation to 1 + saturation."""


class Mixup(Block):
    """Pairs of rows inside a micro-batch are blended, images and labels alike."""

    alpha: Positive = "0.2"
    """Parameter of the beta distribution of the blending weights."""


class Transform(Choice):
    """One transform of the chain."""

    members: ClassVar = {
        "Resize": "resize",
        "RandomResizedCrop": "random_resized_crop",
        "HorizontalFlip": "horizontal_flip",
        "VerticalFlip": "vertical_flip",
        "Rotation": "rotation",
        "ColorJitter": "color_jitter",
        "Mixup": "mixup",
    }

    type: Literal[
        "Resize", "RandomResizedCrop", "HorizontalFlip", "VerticalFlip", "Rotation", "ColorJitter", "Mixup"
    ]
    """Type of the transform; its parameters are in the field of that name."""
    resize: Resize | None = None
    """Parameters of Resize."""
    random_resized_crop: RandomResizedCrop | None = None
    """Parameters of RandomResizedCrop."""
    horizontal_flip: HorizontalFlip | None = None
    """Parameters of HorizontalFlip."""
    vertical_flip: VerticalFlip | None = None
    """Parameters of VerticalFlip."""
    rotation: Rotation | None = None
    """Parameters of Rotation."""
    color_jitter: ColorJitter | None = None
    """Parameters of ColorJitter."""
    mixup: Mixup | None = None
    """Parameters of Mixup."""

    def member(self) -> Block:
        """Return the parameters of the chosen type."""
        block = getattr(self, self.members[self.type])
        assert isinstance(block, Block)
        return block


def _count(transforms: Sequence[Any], *kinds: str) -> int:
    return sum(transform.type in kinds for transform in transforms)


Augmentation = Annotated[
    tuple[Transform, ...],
    BoundedList(
        least=1,
        most=16,
        rules=(
            ListRule(
                cel="self.filter(t, t.type == 'Resize' || t.type == 'RandomResizedCrop').size() == 1",
                holds=lambda transforms: _count(transforms, "Resize", "RandomResizedCrop") == 1,
                problem="must have exactly one of Resize and RandomResizedCrop",
                fix="keep one that sets the size",
            ),
            ListRule(
                cel="self.filter(t, t.type == 'Mixup').size() <= 1",
                holds=lambda transforms: _count(transforms, "Mixup") <= 1,
                problem="must have Mixup at most once",
                fix="keep one of them",
            ),
        ),
    ),
]
