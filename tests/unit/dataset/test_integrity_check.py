"""Check and export: every kind of damage is named, exports hold the same rows."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from seedbed.cli.dataset import command
from seedbed.dataset.export import export_dataset
from seedbed.dataset.file_format import INDEX_SCHEMA, Manifest, dump_manifest
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.reader import open_dataset
from seedbed.dataset.shard_io import encode_index
from seedbed.storage import DamagedObject, LocalStorage, UnreadableObject, open_storage
from seedbed.storage.object_limits import DOCUMENT, ObjectLimit
from seedbed_api.errors import UserError
from support.datasets.image_files import build, png, two_classes, write_files


@pytest.fixture
def folder(tmp_path) -> Path:
    build(two_classes(tmp_path / "source"), tmp_path / "ds")
    return tmp_path / "ds"


def manifest_of(folder: Path) -> Manifest:
    return open_dataset(open_storage(str(folder))).manifest


def problems(folder: Path) -> list[str]:
    try:
        return check_dataset(open_dataset(open_storage(str(folder))))
    except UserError as error:
        return [error.message]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def rewrite(folder: Path, **changes: object) -> None:
    """Forge a manifest whose own seal holds."""
    (folder / "manifest.json").write_bytes(dump_manifest(replace(manifest_of(folder), **changes)))


def with_shard(manifest: Manifest, number: int, **changes: object) -> tuple[object, ...]:
    shards = list(manifest.shards)
    shards[number] = replace(shards[number], **changes)
    return tuple(shards)


def test_a_whole_dataset_has_no_problem(folder) -> None:
    assert problems(folder) == []


def test_a_flipped_bit_of_an_image_is_named_by_shard_batch_and_row(folder) -> None:
    dataset = open_dataset(open_storage(str(folder)))
    shard, index = dataset.manifest.shards[1], dataset.index(1)
    at = 4
    flip(folder / shard.path, shard.batches[index.batch[at]].offset + int(index.offset[at]) + 3)
    (found,) = problems(folder)
    assert f"batch {index.batch[at]} of shard {shard.path} differs" in found
    assert f"image of row {shard.first_row + at}" in found


@pytest.mark.parametrize("part", ["header", "metadata", "footer", "lost end", "longer", "missing"])
def test_damage_of_a_shard_outside_its_images_is_found(part: str, folder) -> None:
    shard = manifest_of(folder).shards[0]
    path = folder / shard.path
    data = path.read_bytes()
    if part in ("header", "metadata", "footer"):
        flip(path, {"header": 2, "metadata": shard.batches[0].offset + 20, "footer": len(data) - 12}[part])
    elif part == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if part == "lost end" else data + b"x")
    found = problems(folder)
    assert found
    assert all(shard.path in problem for problem in found)


def test_every_byte_of_a_shard_and_of_its_index_counts(folder) -> None:
    shard = manifest_of(folder).shards[0]
    for name in (shard.path, shard.index_path):
        path = folder / name
        whole = path.read_bytes()
        for at in range(0, len(whole), 97):
            flip(path, at)
            assert problems(folder), f"byte {at} of {name}"
            path.write_bytes(whole)
    assert problems(folder) == []


def forged_index(folder: Path, column: str, value: object) -> None:
    """Change a row of an index and make every file hash agree."""
    shard = manifest_of(folder).shards[0]
    table = pa.ipc.open_file(folder / shard.index_path).read_all()
    values = table[column].to_pylist()
    values[2] = value
    at = INDEX_SCHEMA.get_field_index(column)
    data = encode_index(
        table.set_column(at, INDEX_SCHEMA.field(at), pa.array(values, INDEX_SCHEMA.field(at).type))
    )
    (folder / shard.index_path).write_bytes(data)
    rewrite(folder, shards=with_shard(manifest_of(folder), 0, index_sha256=hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize(
    ("column", "value"), [("label", 1), ("label", 7), ("id", b"x" * 32), ("key", b"x" * 32), ("digest", b"x" * 32), ("offset", 600), ("length", 3)]
)  # fmt: skip
def test_a_forged_index_is_found(column: str, value: object, folder) -> None:
    index = open_dataset(open_storage(str(folder))).index(0)
    forged_index(folder, column, 1 - int(index.label[2]) if (column, value) == ("label", 1) else value)
    assert problems(folder)


@pytest.mark.parametrize("part", ["shard", "index"])
@pytest.mark.parametrize(
    "error",
    [
        UnreadableObject("StorageDenied", "uri: permission denied", "permission denied"),
        DamagedObject("s3://bucket/x"),
    ],
    ids=["denied", "damaged for the store"],
)
def test_what_a_store_does_not_give_is_named_beside_the_rest(
    error: Exception, part: str, folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, read = manifest_of(folder).shards[0], LocalStorage.read
    lost = shard.path if part == "shard" else shard.index_path

    def refusing(store: LocalStorage, path: str, limit: ObjectLimit = DOCUMENT) -> bytes:
        if path == lost:
            raise error
        return read(store, path, limit)

    monkeypatch.setattr(LocalStorage, "read", refusing)
    found = [
        problem
        for problem in problems(folder)
        if "manifest says" not in problem and "rows per" not in problem
    ]
    assert len(found) == 1
    assert lost in found[0] or "permission denied" in found[0]


def test_a_forged_manifest_is_found(folder) -> None:
    manifest = manifest_of(folder)
    whole = (folder / "manifest.json").read_bytes()
    forgeries = [
        {"classes": ("cat", "cow")},
        {"digest": "sha256:" + "0" * 64},
        {"counts": manifest.counts | {"train": tuple(reversed(manifest.counts["train"]))}},
        {"shards": with_shard(manifest, 0, sha256="0" * 64)},
        {"shards": with_shard(manifest, 0, bytes=1)},
        {"shards": with_shard(manifest, 0, batches=(replace(manifest.shards[0].batches[0], sha256="0" * 64), *manifest.shards[0].batches[1:]))},
    ]  # fmt: skip
    if len(set(manifest.counts["train"])) == 1:
        forgeries.pop(2)
    for forgery in forgeries:
        rewrite(folder, **forgery)
        assert problems(folder), forgery
        (folder / "manifest.json").write_bytes(whole)


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_an_export_holds_the_same_rows(layout: str, folder, tmp_path) -> None:
    dataset = open_dataset(open_storage(str(folder)))
    files = export_dataset(dataset, open_storage(str(tmp_path / "out")), layout=layout)
    assert files == len(dataset.manifest.shards)
    found = exported_parquet(tmp_path / "out") if layout == "parquet" else exported_tars(tmp_path / "out")
    expected = {
        hashlib.sha256(image).hexdigest(): (image, label, split)
        for split in ("train", "validation", "test")
        for image, label in expected_rows(folder, split)
    }
    assert found == expected
    assert json.loads((tmp_path / "out/dataset.json").read_bytes())["digest"] == dataset.digest
    with pytest.raises(UserError, match="not empty"):
        export_dataset(dataset, open_storage(str(tmp_path / "out")), layout=layout)


def expected_rows(folder: Path, split: str) -> list[tuple[bytes, int]]:
    tables = [
        pa.ipc.open_file(folder / shard.path).read_all()
        for shard in manifest_of(folder).shards
        if shard.split == split
    ]
    return [
        row
        for table in tables
        for row in zip(table["image"].to_pylist(), table["label"].to_pylist(), strict=True)
    ]


def exported_parquet(out: Path) -> dict[str, tuple[bytes, int, str]]:
    found = {}
    for path in out.glob("*.parquet"):
        for row in pa.parquet.read_table(path).to_pylist():
            assert row["class"] == ("cat", "dog")[row["label"]]
            found[row["id"]] = (row["image"], row["label"], path.name.split("-")[0])
    return found


def exported_tars(out: Path) -> dict[str, tuple[bytes, int, str]]:
    found = {}
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            data = {member.name: tar.extractfile(member).read() for member in tar}
        for name in (name for name in data if name.endswith(".png")):
            row_id = name.removesuffix(".png")
            found[row_id] = (data[name], int(data[f"{row_id}.cls"]), path.name.split("-")[0])
    return found


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, UserError), result.exception
        return result.exception.exit_code, result.stdout, result.exception.message
    return result.exit_code, result.stdout, result.stderr


def test_the_commands_from_source_to_export(tmp_path) -> None:
    source, dest = two_classes(tmp_path / "source"), tmp_path / "ds"
    code, out, err = invoke("build", source, dest, "--parallelism", 1, "-o", "json")
    assert (code, err) == (0, "")
    digest = json.loads(out)["digest"]
    assert json.loads(invoke("show", dest, "-o", "json")[1])["digest"] == digest
    shown = invoke("show", dest)[1]
    assert "cat" in shown
    assert digest in shown
    assert json.loads(invoke("check", dest, "-o", "json")[1])["whole"] is True
    assert "already there" in invoke("build", source, dest)[1]
    assert invoke("export", dest, tmp_path / "out", "--format", "parquet")[0] == 0
    flip(dest / manifest_of(dest).shards[0].path, 900)
    code, out, message = invoke("check", dest, "-o", "json")
    assert code == 2
    assert json.loads(out)["whole"] is False
    assert "\n" not in message


def test_a_refused_build_prints_its_report(tmp_path) -> None:
    source = write_files(
        two_classes(tmp_path / "source"), {"cat/x.png": b"", "dog/y.png": png(1, height=50)[:300]}
    )
    code, out, message = invoke("build", source, tmp_path / "ds", "-o", "json")
    assert code == 2
    assert json.loads(out)["report"]["refused"]["kinds"] == {"empty-file": 1, "truncated": 1}
    assert "2 of its files are refused" in message
    assert io.StringIO(message).read().count("\n") == 0
