from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.augmentation import HorizontalFlip, Resize, apply, render
from seedbed.feed import open_evaluation, open_feed
from seedbed_api.errors import UserError
from support.datasets.small_datasets import a_dataset, a_stream, photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    a_dataset(folder)
    return folder


def served(spec, *, leaves=None, steps=None, **options):
    leaves, steps = leaves or range(spec.leaves), steps or range(spec.total_steps)
    with open_feed("Local", spec, leaves=leaves, steps=steps, **options) as batches:
        return [
            (b.step, b.leaf, b.rows_m.tolist(), b.labels_m.tolist(), b.pixels_mhwc.tobytes()) for b in batches
        ]


def test_micro_batches_come_in_plan_order_with_the_rows_of_the_plan(folder):
    got = served(a_stream(folder))
    assert [(step, leaf) for step, leaf, *_ in got] == [(s, leaf) for s in range(9) for leaf in range(4)]
    consumed = [row for _, _, rows, _, _ in got for row in rows]
    assert sorted(consumed[:37]) == sorted(consumed[37:74]) == list(range(37))
    assert all(
        label == row % 3 for _, _, rows, labels, _ in got for row, label in zip(rows, labels, strict=True)
    )


def test_pixels_are_the_picture_of_the_row_in_its_epoch(folder):
    spec = a_stream(folder)
    with open_feed("Local", spec, leaves=range(4), steps=range(9)) as batches:
        for number, batch in enumerate(batches):
            for slot, row in enumerate(batch.rows_m.tolist()):
                epoch = (number * 3 + slot) // 37
                want = render(spec.transforms, photo(row), seed=11, epoch=epoch, row=row)
                assert np.array_equal(batch.pixels_mhwc[slot], want)


@settings(max_examples=8, deadline=None)
@given(step=st.integers(0, 8), leaf=st.integers(0, 3), threads=st.integers(1, 3), ahead=st.integers(1, 9))
def test_any_slice_has_the_bits_of_the_whole(folder, step, leaf, threads, ahead):
    whole = served(a_stream(folder))
    part = served(
        a_stream(folder), leaves=range(leaf, 4), steps=range(step, 9), threads=threads, prefetch=ahead
    )
    assert part == [batch for batch in whole if batch[0] >= step and batch[1] >= leaf]


def test_check_of_the_check_one_swapped_row_is_seen(folder):
    whole = served(a_stream(folder))
    step, leaf, rows, labels, pixels = whole[5]
    whole[5] = (step, leaf, rows[::-1], labels, pixels)
    assert whole != served(a_stream(folder))


def test_pixels_of_a_row_do_not_depend_on_its_batch(folder):
    spec = a_stream(folder)
    other = a_stream(folder, leaves=2, leaf_rows=6)
    mine = {
        row: p
        for *_, rows, _, px in served(spec, steps=range(3))
        for row, p in zip(rows, _cut(px, 3), strict=True)
    }
    its = {
        row: p
        for *_, rows, _, px in served(other, steps=range(3))
        for row, p in zip(rows, _cut(px, 6), strict=True)
    }
    assert mine == its


def _cut(pixels: bytes, rows: int) -> list[bytes]:
    size = len(pixels) // rows
    return [pixels[size * row : size * row + size] for row in range(rows)]


def test_leaving_early_ends_the_threads(folder):
    import threading

    with open_feed("Local", a_stream(folder), leaves=range(4), steps=range(9)) as batches:
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("seedbed-feed")]


def test_at_most_the_prefetched_micro_batches_are_made(folder, monkeypatch):
    from seedbed.feed.sample_stream import SampleStream

    made = []
    render_one = SampleStream.micro_batch
    monkeypatch.setattr(
        SampleStream,
        "micro_batch",
        lambda self, plan, step, leaf: made.append(1) or render_one(self, plan, step, leaf),
    )
    with open_feed(
        "Local", a_stream(folder), leaves=range(4), steps=range(9), prefetch=3, threads=2
    ) as batches:
        for taken in range(1, 6):
            next(batches)
            assert len(made) <= taken + 3


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_batches_are_the_same_for_every_world(folder, world):
    spec = a_stream(folder)
    got = {}
    for rank in range(world):
        with open_evaluation(spec, "validation", rank=rank, world=world, batch_rows=4) as batches:
            got |= {batch.index: batch for batch in batches}
    assert sorted(got) == [0, 1, 2]
    assert [row for i in range(3) for row in got[i].rows_b.tolist()] == [*range(37, 48), 47]
    assert [got[i].count for i in range(3)] == [4, 4, 3]
    assert np.array_equal(got[2].pixels_bhwc[2], got[2].pixels_bhwc[3])
    want = render((Resize(size=16),), photo(40), seed=0, epoch=0, row=0)
    assert np.array_equal(got[0].pixels_bhwc[3], want)


def test_an_empty_split_has_no_batches(folder):
    with open_evaluation(a_stream(folder), "test", rank=0, world=1, batch_rows=4) as batches:
        assert list(batches) == []


def test_pictures_that_keep_their_size_keep_their_pixels(folder):
    spec = a_stream(folder, transforms=(HorizontalFlip(probability=0.0),))
    with open_feed("Local", spec, leaves=range(1), steps=range(1)) as batches:
        batch = next(batches)
    assert batch.pixels_mhwc.shape == (3, 32, 40, 3)
    assert np.array_equal(
        batch.pixels_mhwc[0], apply((), _decoded(int(batch.rows_m[0])), seed=0, epoch=0, row=0)
    )


def _decoded(row):
    from seedbed.images.image_decoder import decode

    return decode(photo(row))


def unlike(number):
    return photo(number, width=40 + number % 2)


def broken(number):
    return b"\xff\xd8\xff\xe0 no picture"


@pytest.mark.parametrize(
    ("options", "changes", "reason", "words"),
    [
        (
            {"image": unlike},
            {"transforms": ()},
            "InvalidSpec",
            "spec.training.augmentation: images of one batch",
        ),
        ({"image": broken}, {}, "InvalidDataset", "cannot be decoded"),
        ({"train": 11}, {}, "InvalidSpec", "spec.training.batch.globalSize"),
        ({"train": 0}, {}, "InvalidDataset", "no rows in split train"),
        ({}, {"digest": "sha256:" + "0" * 64}, "DatasetChanged", "dataset.digest"),
        ({}, {"dataset_url": "/nowhere/at/all"}, "InvalidDataset", "manifest.json is missing"),
    ],
    ids=["unlike sizes", "undecodable", "batch too large", "no rows", "another dataset", "no dataset"],
)
def test_what_cannot_be_served_is_told_in_one_line(tmp_path, options, changes, reason, words):
    a_dataset(tmp_path, **options)
    with pytest.raises(UserError) as caught:
        served(a_stream(tmp_path, **changes))
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert "\n" not in caught.value.message
