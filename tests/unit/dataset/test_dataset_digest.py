"""The digest of a dataset: the same whatever the files and the way of building, another one for other rows or cuts."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.dataset import dataset_digest
from seedbed.dataset.reader import Dataset
from seedbed.order import EpochShuffle
from support.datasets.image_files import build, jpeg, opened, png, two_classes, write_files

IMAGES = [png(seed) if seed % 2 else jpeg(seed) for seed in range(12)]


@settings(deadline=None, max_examples=8)
@given(
    classes=st.lists(st.sampled_from(["a", "b", "ü", "z z", "#?"]), min_size=12, max_size=12),
    batch_bytes=st.integers(1, 5_000),
    parallelism=st.integers(1, 4),
    reverse=st.booleans(),
)
def test_one_digest_for_any_folder_order_batch_size_and_parallelism(
    tmp_path_factory, classes, batch_bytes, parallelism, reverse
) -> None:
    classes = ["a", "b", *classes[2:]]
    files = {
        f"{name}/{number}": image for number, (name, image) in enumerate(zip(classes, IMAGES, strict=True))
    }
    root = tmp_path_factory.mktemp("digest")
    one = build(write_files(root / "one", files), root / "ds1", split="train=1")
    items = [(name.replace("/", "/deeper/x"), image) for name, image in files.items()]
    other = write_files(root / "another name", dict(reversed(items) if reverse else items))
    os.utime(next(other.rglob("x*")), (1, 1))
    two = build(
        other,
        root / "ds2",
        split="train=1",
        batch_bytes=batch_bytes,
        parallelism=parallelism,
    )
    assert one.manifest.digest == two.manifest.digest
    assert one.manifest.contents == two.manifest.contents


def cuts(dataset: Dataset) -> list[tuple[str, int]]:
    return [(shard.split, shard.rows) for shard in dataset.manifest.shards]


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(
    sizes=st.tuples(*[st.sampled_from([1, 300, 500, 700, 1_500, 9_000, 9_001])] * 2),
    batch_bytes=st.integers(1, 5_000),
)
def test_one_digest_means_one_order_and_other_cuts_mean_another_digest(
    tmp_path_factory, sizes, batch_bytes
) -> None:
    """Training permutes and windows shards: where they are cut decides which rows a step sees."""
    root = tmp_path_factory.mktemp("cuts")
    source = two_classes(root / "source")
    build(source, root / "one", shard_bytes=sizes[0])
    build(source, root / "two", shard_bytes=sizes[1], batch_bytes=batch_bytes)
    one, two = opened(root / "one"), opened(root / "two")
    assert (one.digest == two.digest) == (cuts(one) == cuts(two))
    for view in ({}, {"split": "validation"}, {"fold": (0, 2)}, {"subset": "0.5"}) * (
        one.digest == two.digest
    ):
        orders = [EpochShuffle(seed=3, view=dataset.view(**view), window=2) for dataset in (one, two)]
        assert (
            orders[0].rows(1, 0, orders[0].count).tolist() == orders[1].rows(1, 0, orders[1].count).tolist()
        )


def test_other_cuts_order_the_same_rows_otherwise(tmp_path) -> None:
    """The check of the check: a digest that left the cuts out would name two orders."""
    source = two_classes(tmp_path / "source")
    orders, names = [], set()
    for name, shard_bytes in (("many", 500), ("one", 1_000_000)):
        build(source, tmp_path / name, split="train=1", shard_bytes=shard_bytes)
        dataset = opened(tmp_path / name)
        order = EpochShuffle(seed=3, view=dataset.view(), window=2)
        orders.append(order.rows(0, 0, order.count).tolist())
        names.add(dataset.digest)
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert len(names) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "cat/0.png").unlink(),
        lambda source: (source / "cat/0.png").rename(source / "dog/0 cat.png"),
        lambda source: (source / "cat/0.png").write_bytes(png(77)),
        lambda source: (source / "cat").rename(source / "cow"),
        lambda source: (source / "dog/new.png").write_bytes(png(77)),
    ],
    ids=["an image removed", "a label changed", "an image changed", "a class renamed", "an image added"],
)
def test_another_digest_for_other_rows(change, tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    before = build(source, tmp_path / "before").manifest
    change(source)
    after = build(source, tmp_path / "after").manifest
    assert before.digest != after.digest
    assert (before.contents, before.classes) != (after.contents, after.classes)


MUTATIONS = {
    "ids by path": (
        "seedbed.dataset.ingest_passes._order",
        lambda row_id: -(int.from_bytes(row_id[:4], "big")),
    ),
    "a digest without the label": (
        "seedbed.dataset.shard_io.row_digest",
        lambda **row: dataset_digest.row_digest(**(row | {"label": 0})),
    ),
    "a digest without the key": (
        "seedbed.dataset.shard_io.row_digest",
        lambda **row: dataset_digest.row_digest(**(row | {"key": b""})),
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_digest_notices_a_mutation_of_its_making(mutation: str, tmp_path, monkeypatch) -> None:
    source = two_classes(tmp_path / "source")
    honest = build(source, tmp_path / "honest").manifest.digest
    monkeypatch.setattr(*MUTATIONS[mutation])
    assert build(source, tmp_path / "mutated").manifest.digest != honest
