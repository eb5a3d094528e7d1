"""Parquet and Arrow as people write them: the digest of the same images in folders, or one line of refusal."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from seedbed.dataset.sources import parquet_tables
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, png, two_classes, write_files
from support.datasets.tables import hugging_face_metadata, numbers, rows_of, structs, table, write_parquet

NAMES = ["cat", "dog"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def digest(images: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(images, tmp_path_factory.mktemp("built") / "ds").manifest.digest


def ipc(path: Path, rows: pa.Table, *, stream: bool = False, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(path, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(rows, max_chunksize=7)


def spark(folder: Path, rows: list[dict[str, object]]) -> None:
    """Write what `df.write.partitionBy("label").parquet(folder)` does."""
    for number, name in enumerate(NAMES):
        part = [row for row in rows if row["label"] == name]
        write_parquet(
            folder / f"label={name}/part-0000{number}-8f3c.c000.snappy.parquet", table(part, image="image")
        )
        (folder / f"label={name}/.part-0000{number}-8f3c.c000.snappy.parquet.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").write_bytes(b"")


def with_paths(folder: Path, rows: list[dict[str, object]]) -> None:
    write_files(folder, {f"pictures/{row['path']}": row["image"] for row in rows})
    paths = pa.array([f"pictures/{row['path']}" for row in rows])
    write_parquet(folder / "rows.parquet", table(rows, image=paths, label="label"))


def described(folder: Path, rows: list[dict[str, object]], name: str, text: str) -> None:
    write_parquet(folder / "data/rows.parquet", table(rows, image=structs(rows), label=numbers(rows, NAMES)))
    write_files(folder, {name: text.encode()})


CARD = """---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
---
# Cats and dogs
"""

SAME: dict[str, Callable[[Path, list[dict[str, object]]], object]] = {
    "bytes and names": lambda d, r: write_parquet(d / "a.parquet", table(r)),
    "structs and numbers with names in the schema": lambda d, r: write_parquet(
        d / "a.parquet",
        table(r, image=structs(r), label=numbers(r, NAMES)).replace_schema_metadata(hugging_face_metadata(NAMES)),
    ),
    "names in dataset_info.json": lambda d, r: described(
        d, r, "dataset_info.json",
        json.dumps({"features": {"label": {"names": NAMES, "_type": "ClassLabel"}, "image": {"_type": "Image"}}}),
    ),
    "names in the card of a hub": lambda d, r: described(d, r, "README.md", CARD),
    "paths": with_paths,
    "several files and row groups": lambda d, r: [
        write_parquet(d / f"sub/{n}.parquet", table(r[n::3]), row_group_size=2, compression="zstd") for n in range(3)
    ],
    "what Spark writes": spark,
    "large types": lambda d, r: write_parquet(
        d / "a.parquet", table(r).cast(pa.schema([("image", pa.large_binary()), ("label", pa.large_string())]))
    ),
    "names as a dictionary": lambda d, r: write_parquet(
        d / "a.parquet", table(r, image="image", label=table(r)["label"].dictionary_encode())
    ),
    "more columns": lambda d, r: write_parquet(
        d / "a.parquet", table(r, image="image", label="label", other=pa.array([[1, 2]] * len(r)))
    ),
    "Arrow file": lambda d, r: ipc(d / "a.arrow", table(r)),
    "compressed Arrow file": lambda d, r: ipc(d / "a.arrow", table(r), compression="zstd"),
    "Arrow stream": lambda d, r: ipc(d / "a.arrow", table(r, x="path", image="image", label="label"), stream=True),
    "Feather": lambda d, r: (d.mkdir(parents=True), pyarrow.feather.write_feather(table(r), d / "a.feather")),
    "caches of datasets beside it": lambda d, r: (
        ipc(d / "data-00000-of-00001.arrow", table(r), stream=True),
        (d / "cache-1234.arrow").write_bytes(b"of another version"),
        (d / "state.json").write_text("{}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_table_gives_the_digest_of_its_images(name: str, images: Path, digest: str, tmp_path: Path) -> None:
    SAME[name](tmp_path / "source", rows_of(images))
    wanted = "parquet" if name == "paths" else "auto"  # images lie beside the table
    assert build(tmp_path / "source", tmp_path / "ds", source_format=wanted).manifest.digest == digest


def test_columns_and_classes_as_the_user_names_them(images: Path, digest: str, tmp_path: Path) -> None:
    rows = rows_of(images)
    odd = table(
        rows,
        picture="image",
        kind=numbers(rows, ["dog", "cat"]),
        image=pa.array(range(len(rows))),
        name="path",
    )
    write_parquet(tmp_path / "source/a.parquet", odd)
    columns = {"image_column": "picture", "label_column": "kind", "key_column": "name"}
    built = build(tmp_path / "source", tmp_path / "ds", classes=("dog", "cat"), **columns)
    assert built.manifest.classes == ("dog", "cat")
    assert (
        built.manifest.digest
        == build(images, tmp_path / "same", classes=("dog", "cat")).manifest.digest
        != digest
    )


def test_numbers_without_names_are_classes_in_their_order(tmp_path: Path) -> None:
    rows = pa.table({"image": [png(n) for n in range(24)], "label": [n % 12 for n in range(24)]})
    write_parquet(tmp_path / "source/a.parquet", rows)
    built = build(tmp_path / "source", tmp_path / "ds").manifest
    assert built.classes == tuple(str(n) for n in range(12))


def test_splits_by_column_by_name_and_by_folder(tmp_path: Path) -> None:
    images = write_files(
        tmp_path / "images",
        {
            f"{s}/{c}/{n}.png": png(hash_of(s, c, n))
            for s in ("train", "val", "test")
            for c in NAMES
            for n in range(6)
        },
    )
    rows = rows_of(images)
    wanted = build(images, tmp_path / "wanted").manifest
    write_parquet(tmp_path / "column/a.parquet", table(rows, image="image", label="label", split="split"))
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        part = table([row for row in rows if row["split"] == split])
        write_parquet(tmp_path / f"hub/data/{name}-00000-of-00001-a1b2.parquet", part)
        write_parquet(tmp_path / f"folders/default/{name}/0000.parquet", part)
        ipc(tmp_path / f"saved/{name}/data-00000-of-00001.arrow", part, stream=True)
        write_parquet(tmp_path / f"hive/split={name}/part-00000.parquet", part)
    for source in ("column", "hub", "folders", "saved", "hive"):
        assert build(tmp_path / source, tmp_path / f"{source}-ds").manifest.digest == wanted.digest, source


def hash_of(split: str, name: str, number: int) -> int:
    return 1000 * len(split) + 100 * len(split + name[:1]) + 10 * ord(name[0]) + number


def test_an_export_is_read_back_with_its_names_and_splits(images: Path, digest: str, tmp_path: Path) -> None:
    from seedbed.dataset.export import export_dataset
    from seedbed.storage import open_storage

    build(images, tmp_path / "ds")
    export_dataset(opened(tmp_path / "ds"), open_storage(str(tmp_path / "out")), layout="parquet")
    assert build(tmp_path / "out", tmp_path / "again").manifest.digest == digest


def test_bad_rows_are_refused_by_place_and_others_stay(images: Path, digest: str, tmp_path: Path) -> None:
    rows = rows_of(images)
    good = table(
        rows, image=structs(rows), label=numbers(rows, NAMES), split=pa.nulls(len(rows), pa.string())
    )
    bad = pa.table(
        {
            "image": pa.array(
                [{"bytes": png(900 + n), "path": None} for n in range(4)]
                + [
                    {"bytes": None, "path": None},
                    {"bytes": None, "path": "/etc/passwd"},
                    {"bytes": b"no", "path": "x"},
                ],
                good.schema.field("image").type,
            ),
            "label": pa.array([None, -1, 7, 0, 0, 0, 0], pa.int64()),
            "split": ["train", "train", "train", "dev-set", None, None, None],
        }
    )
    whole = pa.concat_tables([good, bad]).replace_schema_metadata(hugging_face_metadata(NAMES))
    write_parquet(tmp_path / "source/a.parquet", whole)
    built = build(tmp_path / "source", tmp_path / "ds", on_error="skip")
    found = {
        file["path"].rpartition(" ")[2]: file["kind"] for file in built.report.document()["refused"]["files"]
    }
    kinds = [
        "no-label",
        "no-label",
        "unknown-class",
        "unknown-split",
        "missing-file",
        "outside-source",
        "not-an-image",
    ]
    assert [found[str(len(rows) + n)] for n in range(7)] == kinds
    assert built.manifest.digest == digest
    with pytest.raises(UserError, match=r"a\.parquet, row 4\d \(no-label\)"):
        build(tmp_path / "source", tmp_path / "other")


def bytes_as_text(values: list[bytes], kind: pa.DataType) -> pa.Array:
    """Return a column of text that nobody checked, as a file of strangers has it."""
    binary = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    return pa.array(values, binary[kind]).view(kind)


@pytest.mark.parametrize("form", ["string", "large_string", "string_view", "dictionary", "parquet"])
def test_text_that_is_no_utf8_is_refused_by_row(form: str, images: Path, digest: str, tmp_path: Path) -> None:
    rows = [*rows_of(images), {"image": png(900)}, {"image": png(901)}, {"image": png(902)}]
    odd, nothing = b"\xff\xfe", [None] * (len(rows) - 3)
    kind = getattr(pa, form)() if form.endswith(("string", "view")) else pa.string()
    label = bytes_as_text([*(str(row["label"]).encode() for row in rows[:-3]), odd, b"cat", b"cat"], kind)
    if form == "dictionary":
        label = pa.DictionaryArray.from_arrays(pa.array(range(len(rows)), pa.int32()), label)
    split = bytes_as_text([*nothing, None, odd, None], pa.string())
    group = bytes_as_text([*(b"%d" % number for number in range(len(rows) - 1)), odd], pa.string())
    whole = table(rows, image="image", label=label, split=split, key=pa.array(range(len(rows))))
    for name, column in (("plain", whole), ("grouped", whole.append_column("group", group))):
        path = tmp_path / name / ("a.parquet" if form == "parquet" else "a.arrow")
        write_parquet(path, column) if form == "parquet" else ipc(path, column)
    built = build(tmp_path / "plain", tmp_path / "ds", on_error="skip", key_column="key")
    found = {file["path"]: file["kind"] for file in built.report.document()["refused"]["files"]}
    assert found == {f"{path.name}, key 40": "bad-label", f"{path.name}, key 41": "unknown-split"}
    grouped = build(tmp_path / "grouped", tmp_path / "grouped-ds", on_error="skip").report.document()
    kinds = {file["path"].rpartition(" ")[2]: file["kind"] for file in grouped["refused"]["files"]}
    assert (kinds["40"], kinds["41"], kinds["42"]) == ("bad-label", "unknown-split", "no-group")


def test_a_name_twice_that_nobody_reads_does_no_harm(images: Path, digest: str, tmp_path: Path) -> None:
    rows = rows_of(images)
    label = table(rows)["label"]
    columns = [table(rows)["image"], label, label, label]
    ipc(tmp_path / "source/a.arrow", pa.Table.from_arrays(columns, names=["picture", "label", "x", "x"]))
    assert build(tmp_path / "source", tmp_path / "ds").manifest.digest == digest


def test_parts_are_counted_from_0_or_1_and_a_user_may_name_some(
    images: Path, digest: str, tmp_path: Path
) -> None:
    rows = rows_of(images)
    for first in (0, 1):
        for n in range(first, first + 3):
            write_parquet(
                tmp_path / f"{first}/train-{n:05d}-of-00003-{n:x}ab.parquet", table(rows[n - first :: 3])
            )
        assert build(tmp_path / str(first), tmp_path / f"{first}-ds").manifest.total == len(rows)
    some = ("train-00000-of-00003-0ab.parquet", "train-00002-of-00003-2ab.parquet")
    assert build(tmp_path / "0", tmp_path / "some", source_files=some).manifest.total == 27


def test_names_of_a_format_are_read_without_blanks_around_them(
    images: Path, digest: str, tmp_path: Path
) -> None:
    rows = rows_of(images)
    whole = table(rows, image=structs(rows), label=numbers(rows, NAMES))
    write_parquet(
        tmp_path / "source/a.parquet", whole.replace_schema_metadata(hugging_face_metadata([" cat", "dog\n"]))
    )
    assert build(tmp_path / "source", tmp_path / "ds").manifest.digest == digest


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def cut_stream(path: Path, rows: pa.Table, *, batches: int, legacy: bool) -> None:
    """Write a stream and keep its first batches, to the byte."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(use_legacy_format=legacy)
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        for batch in rows.to_batches(max_chunksize=7)[:batches]:
            writer.write_batch(batch)
        write_files(path.parent, {path.name: sink.getvalue()})


def twice(names: list[str]) -> Callable[[Path, list[dict[str, object]]], object]:
    """Write a table whose columns have these names, two of them the same."""

    def write(folder: Path, rows: list[dict[str, object]]) -> None:
        columns = {"image": table(rows)["image"], "label": table(rows)["label"]}
        arrays = [columns.get(name, columns["image"]) for name in names]
        write_parquet(folder / "a.parquet", pa.Table.from_arrays(arrays, names=names))

    return write


def parts(folder: Path, rows: list[dict[str, object]], numbers: tuple[int, ...], name: str) -> None:
    for number in numbers:
        write_parquet(folder / name.format(number), table(rows[number::3]))


def two_schemas(folder: Path, rows: list[dict[str, object]]) -> None:
    write_parquet(folder / "a.parquet", table(rows[:20]))
    write_parquet(folder / "b.parquet", table(rows[20:], image="image", label=numbers(rows[20:], NAMES)))


def two_names(folder: Path, rows: list[dict[str, object]]) -> None:
    for name, names in (("a", NAMES), ("b", NAMES[::-1])):
        whole = table(rows, image=structs(rows), label=numbers(rows, names))
        write_parquet(folder / f"{name}.parquet", whole.replace_schema_metadata(hugging_face_metadata(names)))


BAD: dict[str, tuple[Callable[[Path, list[dict[str, object]]], object], dict[str, object], str]] = {
    "no label": (lambda d, r: write_parquet(d / "a.parquet", table(r, image="image", kind="label")), {},
        r"--label-column: 'a.parquet' has no such column; there are \['image', 'kind'\] \(got 'label'\); name the column"),
    "another case": (lambda d, r: write_parquet(d / "a.parquet", table(r, image="image", Label="label")), {},
        r"write --label-column 'Label'"),
    "no image": (lambda d, r: write_parquet(d / "a.parquet", table(r, label="label")), {}, r"--image-column: 'a.parquet' has no such column; there are \['label'\] \(got 'image'\)"),
    "two that may be images": (lambda d, r: write_parquet(d / "a.parquet", table(r, a="image", b="image", label="label")), {},
        r"several columns may be the image: \['a', 'b'\] \(got 'a.parquet'\); name one of them with --image-column"),
    "a wrong option": (lambda d, r: write_parquet(d / "a.parquet", table(r)), {"split_column": "part"},
        r"--split-column: 'a.parquet' has no such column; there are .* \(got 'part'\)"),
    "images as numbers": (lambda d, r: write_parquet(d / "a.parquet", table(r, image=pa.array(range(len(r))), label="label")), {},
        r"--image-column: 'a.parquet' has values of type int64 in it, not bytes"),
    "lists as labels": (lambda d, r: write_parquet(d / "a.parquet", table(r, image="image", label=pa.array([[1]] * len(r)))), {},
        r"--label-column: 'a.parquet' has values of type list<.*int64> in it, not text or whole numbers"),
    "fractions as labels": (lambda d, r: write_parquet(d / "a.parquet", table(r, image="image", label=pa.array([0.5] * len(r)))), {},
        r"--label-column: the value of a.parquet, row 0 is 0.5"),
    "another type in the second file": (two_schemas, {}, r"SOURCE: column 'label' holds number here, and text in 'a.parquet' \(got 'b.parquet'\); keep"),
    "other class names in the second file": (two_names, {}, r"SOURCE: column 'label' has other class names than in 'a.parquet'"),
    "a truncated file": (lambda d, r: cut(write_parquet(d / "a.parquet", table(r)), 0.6), {},
        r"SOURCE: it is truncated or no Parquet file .*; copy or write it again"),
    "an empty file": (lambda d, r: write_files(d, {"a.parquet": b""}), {}, r"SOURCE: it is truncated or no Parquet"),
    "text": (lambda d, r: write_files(d, {"a.parquet": b"image,label\n" * 99}), {}, r"SOURCE: it is truncated or no Par"),
    "a truncated Arrow file": (lambda d, r: (ipc(d / "a.arrow", table(r)), cut(d / "a.arrow", 0.6)), {},
        r"SOURCE: it is truncated or no Arrow file"),
    "a truncated Arrow stream": (lambda d, r: (ipc(d / "a.arrow", table(r), stream=True), cut(d / "a.arrow", 0.6)), {},
        r"SOURCE: it is truncated or no Arrow file"),
    "one key twice": (lambda d, r: write_parquet(d / "a.parquet", table(r, image="image", label="label", k=pa.array([0, 1, 2, 3, 1, *range(9, 9 + len(r) - 5)]))),
        {"key_column": "k"}, r"--key-column: a.parquet, row 1 and a.parquet, row 4 have the same key \(got '1'\); give each row"),
    "two formats": (lambda d, r: (write_parquet(d / "a.parquet", table(r)), ipc(d / "b.arrow", table(r))), {},
        r"it holds files of several formats: a.parquet, b.arrow \(got .*; name one of them with --source-format"),
    "a split that is none": (lambda d, r: write_parquet(d / "unsupervised-00000-of-00001.parquet", table(r)), {},
        r"SOURCE: 'unsupervised' is no split \(got .*; name the files to take by SOURCE/PATTERN"),
    "a file without a split": (lambda d, r: (write_parquet(d / "train.parquet", table(r)), write_parquet(d / "more.parquet", table(r))), {},
        r"SOURCE: its name says no split, and that of 'train.parquet' does"),
    "a class without rows": (lambda d, r: write_parquet(d / "a.parquet", table(r, image=structs(r), label=numbers(r, NAMES)).replace_schema_metadata(hugging_face_metadata([*NAMES, "emu"]))), {},
        r"SOURCE: no image of this class is left \(got 'emu'\); add images of it, or name those to keep with --classes"),
    "no rows": (lambda d, r: write_parquet(d / "a.parquet", table(r).slice(0, 0)), {}, r"there are no images here"),
    "options of folders": (lambda d, r: write_parquet(d / "a.parquet", table(r)), {"top_folders": "classes"}, r"--top-folders: does not go with parquet"),
    "a stream that was cut between batches": (lambda d, r: cut_stream(d / "a.arrow", table(r), batches=2, legacy=False), {},
        r"SOURCE: it was cut: a stream ends with a mark, and there is none \(got 'a.arrow'\); copy or write it again"),
    "a stream of old that was cut": (lambda d, r: cut_stream(d / "a.arrow", table(r), batches=2, legacy=True), {}, r"SOURCE: it was cut: a stream"),
    "a part that is missing": (lambda d, r: parts(d, r, (0, 2), "data/train-{:05d}-of-00003-ab.parquet"), {},
        r"SOURCE: it is missing: 2 of 3 files are here \(got 'data/train-00001-of-00003.parquet'\); copy it, or name the files to take"),
    "a last part that is missing": (lambda d, r: parts(d, r, (0, 1), "train-{:05d}-of-00003.parquet"), {}, r"it is missing: 2 of 3 .*'train-00002-of-00003.parquet'"),
    "two columns of the label": (twice(["image", "label", "label"]), {}, r"--label-column: 'a.parquet' has 2 columns of this name \(got 'label'\); rename them"),
    "two columns of one image": (twice(["picture", "picture", "label"]), {}, r"several columns may be the image: \['picture', 'picture'\]"),
    "a struct with bytes twice": (lambda d, r: ipc(d / "a.arrow", table(r, image=pa.StructArray.from_arrays([structs(r).field("bytes")] * 2, names=["bytes", "bytes"]), label="label")), {},
        r"--image-column: 'a.arrow' has values of type struct<.*> in it"),
    "two classes of one name": (lambda d, r: write_parquet(d / "a.parquet", table(r, image=structs(r), label=numbers(r, NAMES)).replace_schema_metadata(hugging_face_metadata(["cat", "cat "]))), {},
        r"SOURCE: names two classes so \(got 'cat'\); give each class a name of its own"),
    "a class without a name": (lambda d, r: write_parquet(d / "a.parquet", table(r, image=structs(r), label=numbers(r, NAMES)).replace_schema_metadata(hugging_face_metadata(["cat", " "]))), {},
        r"SOURCE: names a class that has no name \(got ''\)"),
    "groups that are lists": (lambda d, r: write_parquet(d / "a.parquet", table(r, image="image", label="label", group=pa.array([[1]] * len(r)))), {},
        r"--group-by: 'a.parquet' has values of type list<.*> in it, not text or numbers \(got 'group'\)"),
    "files that are no tables": (lambda d, r: write_files(d, {"1.png": png(1), "2.png": png(2)}), {"source_files": ("1.png", "2.png")},
        r"SOURCE: it is named, and nothing would read it \(got '1.png'\); name a folder"),
    "a format that is not there": (lambda d, r: write_parquet(d / "a.parquet", table(r)), {"source_format": "arrow"}, r"there are no arrow files here"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_in_one_line(name: str, images: Path, tmp_path: Path) -> None:
    write, options, line = BAD[name]
    write(tmp_path / "source", rows_of(images))
    with pytest.raises(UserError, match=line) as caught:
        build(tmp_path / "source", tmp_path / "ds", **options)
    assert "\n" not in caught.value.message
    assert not (tmp_path / "ds").exists()


def test_a_column_that_grows_like_no_images_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_tables, "_SMALL", 1 << 20)
    zeros = pa.table({"image": [bytes(1 << 20)] * 5, "label": ["a"] * 5})
    write_parquet(tmp_path / "source/a.parquet", zeros, compression="zstd", use_dictionary=False)
    with pytest.raises(UserError, match=r"SOURCE: column 'image' grows from .* to .* bytes: no images do"):
        build(tmp_path / "source", tmp_path / "ds")


@pytest.mark.slow
def test_the_rows_of_a_bad_footer_are_not_trusted(tmp_path: Path) -> None:
    """Damage anywhere in a file ends in one line, or in the same rows."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [png(n) for n in range(8)], "label": list("abababab")}), sink)
    whole = sink.getvalue()
    for at in range(4, len(whole), max(1, len(whole) // 24)):
        write_files(
            tmp_path / "source", {"a.parquet": whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]}
        )
        with contextlib.suppress(UserError):
            built = build(tmp_path / "source", tmp_path / f"ds-{at}", split="train=1").manifest
            assert (built.classes, built.total) == (("a", "b"), 8)
