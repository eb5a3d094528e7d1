"""Decoded pictures that readers share: the same bits as without, each decoded once, whatever befalls the folder."""

from __future__ import annotations

import errno
import fcntl
import io
import multiprocessing
import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedbed.augmentation import (
    ColorJitter,
    HorizontalFlip,
    RandomResizedCrop,
    Resize,
    Rotation,
    VerticalFlip,
    render,
    render_head,
    render_rest,
    sizing_head,
)
from seedbed.feed import decoded_cache as module
from seedbed.feed import open_evaluation, open_feed
from seedbed.feed.decoded_cache import DecodedCache
from seedbed.feed.decoded_cache_policy import decoded_bytes
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.record_batch_cache import BatchCache
from seedbed.storage import open_storage
from support.datasets.small_datasets import a_dataset, a_stream, photo, write_dataset

TRAIN, VALIDATION, STEPS_OF_3_EPOCHS = 36, 11, 9
SIDE = 6


def as_png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo(number))).save(buffer, "PNG")
    return buffer.getvalue()


FORMATS = {"JPEG": photo, "PNG": as_png}


@pytest.fixture(scope="module", params=FORMATS)
def folder(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("dataset")
    a_dataset(folder, train=TRAIN, validation=VALIDATION, image=FORMATS[request.param])
    return folder


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jpegs")
    a_dataset(folder, train=TRAIN, validation=VALIDATION)
    return folder


def served(spec, **options):
    """Return all that a run reads: its training, and an evaluation."""
    with open_feed(
        "Local", spec, leaves=range(spec.leaves), steps=range(spec.total_steps), **options
    ) as feed:
        training = [(b.rows_m.tolist(), b.labels_m.tolist(), b.pixels_mhwc.tobytes()) for b in feed]
    with open_evaluation(spec, "validation", rank=0, world=1, batch_rows=4) as batches:
        return training, [(b.rows_b.tolist(), b.labels_b.tolist(), b.pixels_bhwc.tobytes()) for b in batches]


def decodes(spec, **options) -> int:
    """Return how many pictures a run decodes."""
    IO_COUNTERS.drain()
    served(spec, **options)
    return IO_COUNTERS.drain().decodes


def kept(spec):
    """Return the cache that a stream of this specification uses."""
    return DecodedCache(spec.cache_folder / "decoded", bound=decoded_bytes(spec.cache_bytes))


CROP, RESIZE = RandomResizedCrop(size=16), Resize(size=16)
AFTER = st.lists(
    st.sampled_from(
        [
            HorizontalFlip(),
            VerticalFlip(),
            Rotation(degrees=20.0),
            ColorJitter(brightness=0.4, hue=0.1),
            Resize(size=12),
            RandomResizedCrop(size=12),
        ]
    ),
    max_size=3,
)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(
    head=st.sampled_from([CROP, RESIZE, None]),
    after=AFTER,
    threads=st.integers(1, 4),
    shared=st.booleans(),
    in_place=st.booleans(),
)
def test_bits_do_not_depend_on_what_others_have_decoded(
    folder, tmp_path_factory, head, after, threads, shared, in_place
):
    transforms = (*(() if head is None else (head,)), *after)
    plain = a_stream(folder, transforms=transforms)
    cached = replace(
        plain, cache_folder=tmp_path_factory.mktemp("cache"), shared=shared, read_in_place=in_place
    )
    want = served(plain)
    assert served(cached, threads=threads) == want
    assert served(cached, threads=threads) == want
    longer = replace(cached, total_steps=3, seed=12)  # another run, over what the first one has left
    assert served(longer) == served(replace(longer, cache_folder=None))


@pytest.mark.parametrize(
    "transforms", [(), (HorizontalFlip(),), (CROP, ColorJitter(hue=0.2)), (RESIZE, CROP)]
)
def test_a_picture_is_its_head_and_the_rest(transforms):
    for row in range(9):
        data = photo(row)
        head = render_head(sizing_head(transforms), data, seed=3, epoch=1, row=row)
        before = head.copy()
        got = render_rest(transforms, head, seed=3, epoch=1, row=row)
        assert np.array_equal(got, render(transforms, data, seed=3, epoch=1, row=row))
        assert np.array_equal(render_head(sizing_head(transforms), data, seed=3, epoch=1, row=row), before)


ONCE, ANEW = TRAIN + VALIDATION, 3 * TRAIN + VALIDATION
WORTH = {
    "alone, a fixed head": ((RESIZE, HorizontalFlip()), {}, ONCE, 0),
    "alone, no head": ((), {}, ONCE, 0),
    "alone, a random head": ((CROP,), {}, ANEW, ANEW),
    "alone, one epoch": ((RESIZE,), {"total_steps": 3}, ONCE, ONCE),
    "alone, more than fits": ((RESIZE,), {"cache_bytes": 2 * 20 * 16 * 16 * 3}, ANEW, ANEW),
    "shared, a fixed head": ((RESIZE,), {"shared": True}, ONCE, 0),
    "shared, one epoch": ((RESIZE,), {"shared": True, "total_steps": 3}, ONCE, 0),
    "shared, a random head": ((CROP, HorizontalFlip()), {"shared": True}, ANEW, 0),
    "shared, a random one behind": ((RESIZE, CROP), {"shared": True}, ONCE, 0),
}


@pytest.mark.parametrize(("transforms", "changes", "first", "again"), WORTH.values(), ids=WORTH)
def test_what_is_decoded_by_a_run_and_by_the_next_one(jpegs, tmp_path, transforms, changes, first, again):
    spec = a_stream(jpegs, transforms=transforms, **({"cache_folder": tmp_path} | changes))
    assert decodes(replace(spec, cache_folder=None)) == spec.total_steps * 12 + VALIDATION
    assert decodes(spec) == first
    assert decodes(spec) == again
    assert kept(spec).size() <= decoded_bytes(spec.cache_bytes)


def test_pictures_and_record_batches_share_one_bound(jpegs, tmp_path):
    lone = a_stream(jpegs, cache_folder=tmp_path, cache_bytes=200_000, read_in_place=False)
    served(lone)
    batches = BatchCache(tmp_path, bound=200_000)
    full = batches.size()
    served(replace(lone, shared=True, cache_bytes=full))
    pictures = kept(replace(lone, cache_bytes=full))
    assert 0 < pictures.size() <= full // 2
    assert 0 < batches.size() <= full // 2, "what was there before makes room for pictures"
    served(replace(lone, cache_bytes=full))
    assert batches.size() + pictures.size() <= full


def unlike(number: int) -> bytes:
    return photo(number, width=40 + number % 2)


def test_pictures_of_unlike_shapes_are_not_kept_but_served(tmp_path):
    a_dataset(tmp_path / "data", train=TRAIN, image=unlike)
    spec = a_stream(tmp_path / "data", transforms=(HorizontalFlip(), RESIZE))
    cached = replace(spec, cache_folder=tmp_path / "cache", shared=True)
    assert served(cached) == served(cached) == served(spec)


def of_one_class(number: int) -> bytes:
    return photo(number + 10)


def test_the_same_batch_elsewhere_in_another_dataset_draws_other_boxes(tmp_path):
    """Ten rows further on: the batches are the same, the numbers of their rows are not."""
    for name, image, rows in (("long", photo, 40), ("late", of_one_class, 30)):
        write_dataset(open_storage(str(tmp_path / name)), rows={"train": rows}, image=image, classes=1)
    for transforms, shares in (((CROP,), False), ((RESIZE,), True)):
        cache = tmp_path / f"cache-{shares}"
        first, other = (
            a_stream(tmp_path / name, transforms=transforms, total_steps=2, shared=True, cache_folder=cache)
            for name in ("long", "late")
        )
        with open_feed("Local", replace(first, total_steps=6), leaves=range(4), steps=range(6)) as feed:
            assert len(list(feed)) == 24
        IO_COUNTERS.drain()
        with open_feed("Local", other, leaves=range(4), steps=range(2)) as feed:
            got = [batch.pixels_mhwc.tobytes() for batch in feed]
        assert (IO_COUNTERS.drain().decodes == 0) is shares
        with open_feed("Local", replace(other, cache_folder=None), leaves=range(4), steps=range(2)) as feed:
            assert got == [batch.pixels_mhwc.tobytes() for batch in feed]


def overwrite(path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


def swapped(data: bytes) -> bytes:
    stride = 16 + 16 * 16 * 3
    return data[stride : 2 * stride] + data[:stride] + data[2 * stride :]


DAMAGES = {
    "every byte of a part flipped": lambda data: data[:100] + bytes(255 - each for each in data[100:]),
    "cut off": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "two pictures in each other's place": swapped,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_slot_is_decoded_again_and_mended(jpegs, tmp_path, damage):
    spec = a_stream(jpegs, transforms=(RESIZE,), cache_folder=tmp_path, shared=True)
    want = served(spec)
    for path in (tmp_path / "decoded").glob("??/*"):
        overwrite(path, damage)
    IO_COUNTERS.drain()
    assert served(spec) == want
    assert IO_COUNTERS.drain().decodes > 0
    assert decodes(spec) == 0


def refusing(code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    return refuse


TROUBLE = {
    "a full disk": (os, "pwritev", errno.ENOSPC),
    "a quota": (os, "pwritev", errno.EDQUOT),
    "no locks": (fcntl, "fcntl", errno.ENOLCK),
    "a folder mounted read-only": (module, "open_for_writing", errno.EROFS),
}


@pytest.mark.parametrize(("owner", "name", "code"), TROUBLE.values(), ids=TROUBLE)
def test_where_nothing_can_be_kept_one_warning_is_given_and_all_is_served(
    jpegs, tmp_path, monkeypatch, owner, name, code
):
    spec = a_stream(jpegs, transforms=(RESIZE,), cache_folder=tmp_path, shared=True, total_steps=3)
    want = served(spec)
    crop = replace(spec, transforms=(CROP,))
    unkept = served(replace(crop, cache_folder=None))
    monkeypatch.setattr(owner, name, refusing(code))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert served(spec) == want
        assert decodes(spec) == 0, "what was kept before is read"
    with (
        warnings.catch_warnings(record=True) as told,
        open_feed("Local", crop, leaves=range(4), steps=range(3), threads=1) as feed,
    ):
        warnings.simplefilter("always")
        got = [batch.pixels_mhwc.tobytes() for batch in feed]
    assert got == [pixels for *_, pixels in unkept[0]]
    assert len([each for each in told if "nothing more is written to it" in str(each.message)]) == 1


def test_a_folder_that_cannot_be_made_keeps_nothing(jpegs, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    spec = a_stream(jpegs, transforms=(RESIZE,), cache_folder=tmp_path / "file" / "cache", shared=True)
    with pytest.warns(UserWarning, match="nothing more is written to it"):
        got = served(spec)
    assert got == served(replace(spec, cache_folder=None))


# -- several processes ----------------------------------------------------------------------------------------


def read_all(spec, start, results) -> None:
    start.wait()
    IO_COUNTERS.drain()
    results.put((served(spec), IO_COUNTERS.drain().decodes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transforms", "want"), [((RESIZE,), ONCE), ((CROP,), ANEW)], ids=["fixed", "random"]
)
def test_processes_in_lockstep_decode_each_picture_once(jpegs, tmp_path, transforms, want):
    spec = a_stream(jpegs, transforms=transforms, cache_folder=tmp_path, shared=True)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=read_all, args=(spec, start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    got = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert sum(count for _, count in got) == kept(spec).usage().writes == want
    assert [pixels for pixels, _ in got] == [served(replace(spec, cache_folder=None))] * 2
