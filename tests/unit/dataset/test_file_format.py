"""The format itself: golden bytes of a tiny shard, other readers, and the digest over rows and cuts."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import numpy as np
import polars
import pyarrow as pa
import pytest

from seedbed.dataset.dataset_digest import DatasetDigest
from seedbed.dataset.file_format import SPLITS, dump_manifest, load_manifest
from seedbed.dataset.reader import open_dataset
from seedbed.dataset.shard_io import EncodedShard, Row, ShardEncoder, decode_index
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, two_classes

GOLDEN_SHARD = "890aef54e11667def229ae53744d61546fd78715cac07ae52eae2eced7e32c1b"
GOLDEN_INDEX = "c55fc0ed119e9e631363449f7f1968dba0a635c2da4b5b595faa78fc0331a330"
GOLDEN_DIGEST = "sha256:0d9464c0d6a905646bdff7a5f3dfff55707affdef1f6afbbaf4551a2338bb827"


def tiny_shard() -> EncodedShard:
    encoder = ShardEncoder(batch_bytes=12)
    for number in range(5):
        row_id = hashlib.sha256(bytes([number])).digest()
        encoder.add(Row(image=b"picture" * (number % 3), label=number, id=row_id, key=row_id))
    return encoder.finish()


def test_the_bytes_of_a_tiny_shard_are_golden() -> None:
    shard = tiny_shard()
    assert hashlib.sha256(shard.data).hexdigest() == GOLDEN_SHARD
    assert hashlib.sha256(shard.index).hexdigest() == GOLDEN_INDEX


def test_the_digest_of_tiny_rows_is_golden() -> None:
    digest = DatasetDigest(["a", "b"])
    digest.update("train", tiny_shard().row_digests)
    assert digest.finish() == GOLDEN_DIGEST


def test_an_image_is_a_slice_of_its_batch() -> None:
    shard = tiny_shard()
    index = decode_index(shard.index)
    assert [batch.rows for batch in shard.batches] == [2, 1, 2]
    for row in range(5):
        batch = shard.batches[index.batch[row]]
        message = shard.data[batch.offset : batch.offset + batch.length]
        image = message[index.offset[row] : index.offset[row] + index.length[row]]
        assert image == b"picture" * (row % 3)
        assert batch.sha256 == hashlib.sha256(message).hexdigest()


@pytest.mark.parametrize("reader", ["pyarrow", "polars", "datasets"])
def test_other_readers_open_a_shard(reader: str, tmp_path) -> None:
    path = tmp_path / "shard.arrow"
    path.write_bytes(tiny_shard().data)
    if reader == "pyarrow":
        labels = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["label"].to_pylist()
    elif reader == "polars":
        labels = polars.read_ipc(path)["label"].to_list()
    elif importlib.util.find_spec("datasets") is None:
        pytest.skip("not run: datasets is not installed")
    else:
        import datasets

        labels = datasets.load_dataset("arrow", data_files=str(path), split="train", cache_dir=tmp_path)[
            "label"
        ]
    assert list(labels) == [0, 1, 2, 3, 4]


def test_the_digest_sees_order_split_classes_and_where_shards_are_cut() -> None:
    rows = [hashlib.sha256(bytes([n])).digest() for n in range(4)]

    def digest(classes: list[str], *pieces: tuple[str, list[int]]) -> str:
        streamed = DatasetDigest(classes)
        for split, numbers in pieces:
            streamed.update(split, b"".join(rows[n] for n in numbers))
        return streamed.finish()

    whole = digest(["a"], ("train", [0, 1, 2]), ("test", [3]))
    assert whole == digest(["a"], ("train", [0, 1, 2]), ("test", [3]))
    others = {
        digest(["b"], ("train", [0, 1, 2]), ("test", [3])),
        digest(["a"], ("train", [0, 2, 1]), ("test", [3])),
        digest(["a"], ("train", [0, 1]), ("test", [2, 3])),
        digest(["a"], ("test", [3]), ("train", [0, 1, 2])),
        digest(["a"], ("train", [0, 1, 2, 3])),
        digest(["a"], ("train", [0, 1]), ("test", [3]), ("train", [2])),
        digest(["a"], ("train", [0]), ("train", [1, 2]), ("test", [3])),
        digest(["a"], ("train", [0, 1]), ("train", [2]), ("test", [3])),
    }
    assert len(others | {whole}) == 9


def test_a_manifest_survives_its_json(tmp_path) -> None:
    manifest = build(two_classes(tmp_path / "source"), tmp_path / "ds").manifest
    assert load_manifest(dump_manifest(manifest), where="x") == manifest


MANGLED = {
    "not JSON": (lambda d: None, "is not a dataset manifest"),
    "another version": (lambda d: d | {"schema_version": 2}, "another version"),
    "a class renamed": (lambda d: d | {"classes": ["cat", "cow"]}, "was changed"),
    "a digest replaced": (lambda d: d | {"digest": "sha256:0"}, "was changed"),
    "a field dropped": (lambda d: {k: v for k, v in d.items() if k != "shards"}, "is not a dataset manifest"),
    "a field of the wrong type": (lambda d: d | {"classes": 3}, "is not a dataset manifest"),
    "no object": (lambda d: [], "is not a dataset manifest"),
}


@pytest.mark.parametrize("case", MANGLED)
def test_a_mangled_manifest_is_one_line(case: str, tmp_path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "ds")
    path = tmp_path / "ds" / "manifest.json"
    mangle, expected = MANGLED[case]
    document = mangle(json.loads(path.read_bytes()))
    path.write_bytes(b"{" if document is None else json.dumps(document).encode())
    with pytest.raises(UserError, match=expected) as caught:
        open_dataset(open_storage(str(tmp_path / "ds")))
    assert caught.value.reason == "InvalidDataset"
    assert "\n" not in caught.value.message


def test_rows_stand_in_order_of_id_and_a_shard_holds_one_split(tmp_path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "ds")
    dataset = open_dataset(open_storage(str(tmp_path / "ds")))
    for split in SPLITS:
        numbers = [n for n, shard in enumerate(dataset.manifest.shards) if shard.split == split]
        ids = [row.tobytes() for number in numbers for row in dataset.index(number).id]
        assert ids == sorted(ids)
        assert len(ids) == dataset.manifest.rows(split) == dataset.view(split=split).count
    rows = np.concatenate([dataset.view(split=split).row_numbers() for split in SPLITS])
    assert rows.tolist() == list(range(40))
