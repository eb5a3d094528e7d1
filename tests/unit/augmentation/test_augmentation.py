from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.augmentation import (
    ColorJitter,
    HorizontalFlip,
    RandomResizedCrop,
    Resize,
    Rotation,
    VerticalFlip,
    apply,
    for_evaluation,
    output_size,
    render,
)
from seedbed.augmentation.crop_resize import Box, denominator_for
from seedbed.augmentation.integer_trigonometry import sine_cosine
from seedbed.augmentation.random_draws import WORDS, random_words, uniform_below, uniform_between
from support.datasets.small_datasets import photo

EVERYTHING = (
    RandomResizedCrop(size=24),
    HorizontalFlip(),
    VerticalFlip(),
    Rotation(degrees=25),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
)


def picture(width: int = 31, height: int = 26) -> np.ndarray:
    """Return a picture made of integers alone, the same wherever numpy runs."""
    y, x, c = np.ogrid[:height, :width, :3]
    return ((x * x * 3 + y * 7 + x * y * (c + 1) + c * 40) % 256).astype(np.uint8)


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


GOLDEN = {
    "RandomResizedCrop": "5b476de1fae18592 db3f58abe6b0f25a 6b715deb7f82c448 65d086f4e616debd",
    "HorizontalFlip": "e5c453ea43662b2b e5c453ea43662b2b e5c453ea43662b2b e5c453ea43662b2b",
    "VerticalFlip": "e5c453ea43662b2b e5c453ea43662b2b e5c453ea43662b2b e5c453ea43662b2b",
    "Rotation": "79713a1b0cc3ef62 76f517148f70c4c2 ecfbfec94653540c d98e116468f57dcb",
    "ColorJitter": "192ebe00f98d0b09 2ca348fee4e7d933 b564c07416d04cdb f1d992619a4806f3",
}


@pytest.mark.parametrize("transform", EVERYTHING, ids=lambda transform: type(transform).__name__)
def test_golden_pixels_are_contract(transform):
    got = [digest(apply((transform,), picture(), seed=42, epoch=1, row=row)) for row in range(4)]
    assert " ".join(got) == GOLDEN[type(transform).__name__]


def test_golden_words_are_contract():
    assert random_words(3, seed=42, epoch=1, row=2**40) == WORDS_GOLDEN


WORDS_GOLDEN = [9925217358263105087, 12135246597270552461, 16871947780317374614]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10**6), row=st.integers(0, 2**62))
def test_words_are_those_of_a_fresh_generator(seed, epoch, row):
    key, counter = np.array([seed, 3], np.uint64), np.array([0, row, epoch, 0], np.uint64)
    want = np.random.Philox(key=key, counter=counter).random_raw(11).tolist()
    assert random_words(11, seed=seed, epoch=epoch, row=row) == want


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    transforms=st.lists(st.sampled_from(EVERYTHING), max_size=4).map(tuple),
    row=st.integers(0, 10**9),
)
def test_any_pipeline_gives_uint8_rgb_of_the_size_it_names(width, height, transforms, row):
    got = apply(transforms, picture(width, height), seed=3, epoch=0, row=row)
    size = output_size(transforms)
    assert got.dtype == np.uint8
    assert got.shape == ((height, width, 3) if size is None else (size, size, 3))
    assert digest(got) == digest(apply(transforms, picture(width, height), seed=3, epoch=0, row=row))


@pytest.mark.parametrize(
    "transform",
    [
        Rotation(degrees=0),
        ColorJitter(),
        HorizontalFlip(probability=0),
        VerticalFlip(probability=0),
        RandomResizedCrop(size=26, scale=(1, 1), ratio=(1, 1)),
        Resize(size=26),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_no_strength_changes_nothing(transform):
    square = picture(26, 26)
    assert np.array_equal(apply((transform,), square, seed=1, epoch=2, row=3), square)


@pytest.mark.parametrize("change", [{"seed": 8}, {"epoch": 1}, {"row": 6}], ids=["seed", "epoch", "row"])
def test_what_pixels_are_a_function_of(change):
    base = {"seed": 7, "epoch": 0, "row": 5}
    assert digest(apply(EVERYTHING, picture(), **base)) != digest(
        apply(EVERYTHING, picture(), **(base | change))
    )


def test_a_transform_draws_by_its_position():
    twice = apply((HorizontalFlip(), HorizontalFlip()), picture(), seed=1, epoch=0, row=0)
    outcomes = {
        digest(apply((HorizontalFlip(), HorizontalFlip()), picture(), seed=1, epoch=0, row=row))
        for row in range(20)
    }
    assert twice.shape == (26, 31, 3)
    assert len(outcomes) == 2  # were both drawn alike, the picture would always come back


def test_always_flips():
    assert np.array_equal(
        apply((HorizontalFlip(probability=1),), picture(), seed=1, epoch=0, row=0), picture()[:, ::-1]
    )
    assert np.array_equal(
        apply((VerticalFlip(probability=1),), picture(), seed=1, epoch=0, row=0), picture()[::-1]
    )


@pytest.mark.parametrize("degrees", [-360, -90, -30, 0, 1, 45, 60, 180, 359])
def test_sine_and_cosine_are_right_to_the_last_bit_but_one(degrees):
    sine, cosine = sine_cosine(degrees << 16)
    assert abs(sine - math.sin(math.radians(degrees)) * 65536) <= 1
    assert abs(cosine - math.cos(math.radians(degrees)) * 65536) <= 1


def test_colours_stay_grey_and_keep_their_brightness_under_hue_and_saturation():
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    got = apply((ColorJitter(saturation=1, hue=0.5),), grey, seed=1, epoch=0, row=1)
    assert np.abs(got.astype(int) - grey).max() <= 1


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), row=st.integers(0, 1000))
def test_a_crop_lies_inside_and_within_its_area(width, height, row):
    drawn = random_words(WORDS, seed=1, epoch=0, row=row)
    box = RandomResizedCrop(size=32).box(width, height, drawn)
    assert 0 <= box.left <= box.left + box.width <= width
    assert 0 <= box.top <= box.top + box.height <= height
    assert box.width * box.height <= width * height


def test_crops_are_as_often_wide_as_tall():
    boxes = [
        RandomResizedCrop(size=32, scale=(0.1, 0.3)).box(600, 600, random_words(8, seed=1, epoch=0, row=r))
        for r in range(2000)
    ]
    wide = sum(box.width > box.height for box in boxes)
    assert 900 < wide < 1100


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(), width=st.integers(1, 3000), height=st.integers(1, 3000), d=st.sampled_from([1, 2, 4, 8])
)
def test_a_box_mapped_onto_a_reduction_lies_inside_it(data, width, height, d):
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = Box(
        left=left,
        top=top,
        width=data.draw(st.integers(1, width - left)),
        height=data.draw(st.integers(1, height - top)),
    )
    scaled = (-(-width // d), -(-height // d))
    mapped = box.on(scaled, original=(width, height))
    assert 0 <= mapped.left < mapped.left + mapped.width <= scaled[0]
    assert 0 <= mapped.top < mapped.top + mapped.height <= scaled[1]


@pytest.mark.parametrize(
    ("box", "size", "want"),
    [((800, 800), 96, 8), ((800, 700), 96, 4), ((191, 500), 96, 1), ((192, 500), 96, 2), ((40, 40), 96, 1)],
    ids=["an eighth", "the shorter side decides", "one pixel short", "just a half", "smaller than wanted"],
)
def test_reductions_leave_the_box_as_large_as_its_result(box, size, want):
    assert denominator_for(Box(left=0, top=0, width=box[0], height=box[1]), size, (8, 4, 2, 1)) == want


def test_rendering_a_small_file_is_decoding_and_applying():
    from seedbed.images.image_decoder import decode

    data = photo(5)
    for row in range(5):
        want = apply(EVERYTHING, decode(data), seed=9, epoch=4, row=row)
        assert np.array_equal(render(EVERYTHING, data, seed=9, epoch=4, row=row), want)


def test_rendering_a_large_file_by_reductions_looks_like_the_whole():
    from seedbed.images.image_decoder import decode

    data = photo(5, width=700, height=500)
    for row in range(5):
        want = apply(EVERYTHING[:1], decode(data), seed=9, epoch=4, row=row)
        got = render(EVERYTHING[:1], data, seed=9, epoch=4, row=row)
        assert np.abs(got.astype(int) - want).mean() < 8


def test_evaluation_takes_the_centre_and_nothing_else():
    assert for_evaluation(EVERYTHING) == (Resize(size=24),)
    assert for_evaluation((HorizontalFlip(),)) == ()
    wide = picture(40, 26)
    got = apply((Resize(size=26),), wide, seed=1, epoch=1, row=1)
    assert np.array_equal(got, wide[:, 7:33])


def test_bounds_of_draws():
    assert (uniform_below(0, 5), uniform_below(2**64 - 1, 5)) == (0, 4)
    assert (uniform_between(0, -3, 3), uniform_between(2**64 - 1, -3, 3)) == (-3, 3)
