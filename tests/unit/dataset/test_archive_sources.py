"""Tar files, MDS shards and arrays: the digest of the same images in folders, or one line of refusal."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seedbed.dataset.export import export_dataset
from seedbed.dataset.sources.pixel_arrays import png_of
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, pixels, png, write_files
from support.datasets.tables import rows_of

NAMES = ["cat", "dog"]
MOSAICML = Path(__file__).parents[2] / "support/datasets/mosaicml"
SEEDS = range(24)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"{NAMES[n % 2]}/{n:03d}.png": png_of(pixels(n)) for n in SEEDS}
    return write_files(tmp_path_factory.mktemp("images"), files)


@pytest.fixture(scope="module")
def digest(images: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(images, tmp_path_factory.mktemp("built") / "ds").manifest.digest


Members = list[tuple[str, bytes]]


def members(images: Path, *, label: Callable[[int], tuple[str, bytes]]) -> Members:
    found: Members = []
    for number, row in enumerate(rows_of(images)):
        suffix, value = label(NAMES.index(str(row["label"])))
        found += [(f"{number:05d}.png", row["image"]), (f"{number:05d}.{suffix}", value)]
    return found


def write_tar(path: Path, files: Members, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def as_name(label: int) -> tuple[str, bytes]:
    return "cls", NAMES[label].encode()


def as_json(label: int) -> tuple[str, bytes]:
    return "json", json.dumps({"label": NAMES[label], "caption": "a picture"}).encode()


def arrays(images: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = rows_of(images)
    stack = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]))) for row in rows])
    return stack, np.array([row["label"] for row in rows])


def save_npz(path: Path, **named: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **named)


def save_npy(folder: Path, **named: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in named.items():
        np.save(folder / f"{name}.npy", array)


SAME: dict[str, Callable[[Path, Path], object]] = {
    "tar with names": lambda d, i: write_tar(d / "a.tar", members(i, label=as_name)),
    "tar with JSON": lambda d, i: write_tar(d / "a.tar", members(i, label=as_json)),
    "several tar files, long names, folders": lambda d, i: [
        write_tar(d / f"{n:03d}.tar", [(f"{'deep' * 60}/v1.2/{name}", data) for name, data in members(i, label=as_name)[n * 12 : n * 12 + 12]], format=tarfile.PAX_FORMAT)
        for n in range(4)
    ],
    "members that are no samples": lambda d, i: write_tar(
        d / "a.tar", [("__meta__.json", b"{}"), ("README", b"hello"), *members(i, label=as_name)]
    ),
    "arrays": lambda d, i: save_npy(d, images=arrays(i)[0], labels=arrays(i)[1]),
    "an archive of arrays": lambda d, i: save_npz(d / "all.npz", x=arrays(i)[0], y=arrays(i)[1][:, None]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_rows_give_the_digest_of_their_images(name: str, images: Path, digest: str, tmp_path: Path) -> None:
    SAME[name](tmp_path / "source", images)
    built = build(tmp_path / "source", tmp_path / "ds")
    assert built.manifest.digest == digest
    assert not built.report.notes.counts


def test_numbers_get_names(images: Path, digest: str, tmp_path: Path) -> None:
    numbered = members(images, label=lambda label: ("cls", f"{label}\n".encode()))
    write_tar(tmp_path / "tar/a.tar", numbered)
    stack, names = arrays(images)
    save_npy(tmp_path / "npy", images=stack, labels=np.array([NAMES.index(name) for name in names]))
    for source in ("tar", "npy"):
        assert (
            build(tmp_path / source, tmp_path / f"{source}-named", classes=("cat", "dog")).manifest.digest
            == digest
        )
        assert build(tmp_path / source, tmp_path / f"{source}-ds").manifest.classes == ("0", "1")


def test_an_export_is_read_back_with_its_names_and_splits(images: Path, digest: str, tmp_path: Path) -> None:
    build(images, tmp_path / "ds")
    export_dataset(opened(tmp_path / "ds"), open_storage(str(tmp_path / "out")), layout="webdataset")
    assert build(tmp_path / "out", tmp_path / "again").manifest.digest == digest


def test_splits_are_in_the_names_of_arrays(tmp_path: Path) -> None:
    def rows(first: int) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([pixels(n, channels=1) for n in range(first, first + 6)]), np.arange(6)[:, None] % 3

    names = ("train", "val", "test")
    stacks = {
        f"{name}_{what}": rows(10 * at)[which]
        for at, name in enumerate(names)
        for which, what in enumerate(("images", "labels"))
    }
    save_npz(tmp_path / "source/medical.npz", **stacks)
    manifest = build(tmp_path / "source", tmp_path / "ds").manifest
    assert [manifest.rows(split) for split in ("train", "validation", "test")] == [6, 6, 6]
    assert manifest.classes == ("0", "1", "2")


@pytest.mark.parametrize("kind", ["png", "jpeg", "pil"])
def test_labels_and_pixels_are_those_of_streaming(kind: str, tmp_path: Path) -> None:
    """`write_fixtures.py` wrote the shards with mosaicml-streaming, and what it reads from them."""
    source = tmp_path / "source"
    shutil.copytree(MOSAICML / kind, source)
    wanted = json.loads((source / "as_streaming_reads.json").read_text())
    dataset_folder = tmp_path / "ds"
    classes = build(source, dataset_folder).manifest.classes
    read = []
    for number in range(len(opened(dataset_folder).manifest.shards)):
        labels = opened(dataset_folder).index(number).label
        for at, image in opened(dataset_folder).images(number):
            seen = hashlib.sha256(np.asarray(Image.open(io.BytesIO(image))).tobytes()).hexdigest()
            read.append([seen, classes[labels[at]] if kind == "jpeg" else int(labels[at])])
    assert sorted(read) == sorted(wanted)


def sample(**values: bytes) -> Members:
    return [(f"00000.{suffix}", data) for suffix, data in values.items()]


def test_bad_samples_are_refused_by_place(images: Path, digest: str, tmp_path: Path) -> None:
    bad = [
        ("a.png", png(700)), ("a.jpg", png(701)), ("a.cls", b"cat"),
        ("b.cls", b"cat"),
        ("c.png", png(702)),
        ("d.png", b""), ("d.cls", b"cat"),
        ("e.png", png(703)), ("e.cls", b"\xff\xfe"),
        ("f.png", png(704)), ("f.json", b"not json"),
        ("g.png", png(705)), ("g.cls", b"cat"), ("g.json", b'{"split": "test"'),
        ("h.png", png(706)), ("h.cls", b"cat"), ("h.json", b'{"caption": "' + b"x" * (1 << 20) + b'"}'),
        ("i.png", png(707)), ("i.cls", b"cat"), ("i.json", b'["train"]'),
        ("j.png", png(708)), ("j.json", b'{"label": "\\ud800"}'),
        ("k.png", png(709)), ("k.cls", b"cat"), ("k.json", b'{"split": 1}'),
        ("l.png", png(710)), ("l.cls", b"cat"), ("l.json", b'{"split": ["train"]}'),
        ("m.png", png(711)), ("m.cls", b"cat"), ("m.json", b'{"split": "dev-set"}'),
        ("n.png", png(712)), ("n.cls", b"cat"), ("n.json", b'{"group": ["one"]}'),
    ]  # fmt: skip
    write_tar(tmp_path / "source/a.tar", [*members(images, label=as_name), *bad])
    built = build(tmp_path / "source", tmp_path / "ds", on_error="skip")
    found = {file["path"]: file["kind"] for file in built.report.document()["refused"]["files"]}
    assert found == {
        "a.tar/a": "several-images", "a.tar/b": "missing-file", "a.tar/c.png": "no-label",
        "a.tar/d.png": "empty-file", "a.tar/e.png": "no-label", "a.tar/f.png": "bad-json",
        "a.tar/g.png": "bad-json", "a.tar/h.png": "bad-json", "a.tar/i.png": "bad-json", "a.tar/j.png": "bad-json",
        "a.tar/k.png": "unknown-split", "a.tar/l.png": "unknown-split", "a.tar/m.png": "unknown-split",
        "a.tar/n.png": "no-group",
    }  # fmt: skip
    assert built.manifest.digest == digest


def test_a_split_that_the_user_names_is_there_or_its_rows_are_refused(images: Path, tmp_path: Path) -> None:
    members_of = [*members(images, label=as_json), *[(f"{number:05d}.part", b"train\n") for number in SEEDS]]
    write_tar(tmp_path / "source/a.tar", sorted(members_of))
    built = build(tmp_path / "source", tmp_path / "ds", split_column="part").manifest
    assert built.rows("train") == len(SEEDS)
    for option in ("split_column", "group_by"):
        with pytest.raises(
            UserError, match=r"24 of its files are refused: a.tar/00000.png \((unknown-split|no-group)\)"
        ):
            build(tmp_path / "source", tmp_path / "other", **{option: "caption-"})


def test_text_that_no_number_is_written_as_is_a_name(tmp_path: Path) -> None:
    texts = ["007", "7", "-0", "+7", "1_0", "\u0667"]
    files = [
        (f"{n}.{suffix}", data)
        for n in range(24)
        for suffix, data in (("png", png(n)), ("cls", texts[n % 6].encode()))
    ]
    write_tar(tmp_path / "source/a.tar", files)
    assert build(tmp_path / "source", tmp_path / "ds").manifest.classes == tuple(sorted(texts))


def test_labels_that_are_no_text_are_refused_by_row(images: Path, digest: str, tmp_path: Path) -> None:
    stack, names = arrays(images)
    more = np.concatenate([stack, [pixels(900)]])
    surrogate = np.concatenate([names, ["\ud800"]])
    for kind, labels in (("U", surrogate), ("S", np.concatenate([names.astype("S"), [b"\xff\xfe"]]))):
        save_npy(tmp_path / kind, images=more, labels=labels)
        built = build(tmp_path / kind, tmp_path / f"{kind}-ds", on_error="skip")
        (refused,) = built.report.document()["refused"]["files"]
        assert (refused["path"], refused["kind"]) == ("images.npy, row 24", "bad-label")
        assert built.manifest.digest == digest


def no_characters(names: np.ndarray) -> np.ndarray:
    names.view(np.uint32)[3] = 0x7FFF_FFFF
    return names


def indexed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_text())
    change(index["shards"][0])
    path.write_text(json.dumps(index))


def with_link(path: Path, kind: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def mosaicml(folder: Path, change: Callable[[Path], object]) -> None:
    shutil.copytree(MOSAICML / "png", folder)
    change(folder)


def edited(folder: Path, old: str, new: str) -> None:
    path = folder / "index.json"
    path.write_text(path.read_text().replace(old, new))


BAD: dict[str, tuple[Callable[[Path, Path], object], dict[str, object], str]] = {
    "a tar that was cut": (lambda d, i: cut(write_tar(d / "a.tar", members(i, label=as_name)), 9_000), {},
        r"SOURCE: it is truncated or no tar file \(.*\) \(got 'a.tar'\); write or copy it again"),
    "a tar that was cut between members": (lambda d, i: cut(write_tar(d / "a.tar", members(i, label=as_name)), 4 * 1024), {},
        r"it ends without an end mark\) \(got 'a.tar'\)"),
    "text as a tar": (lambda d, i: write_files(d, {"a.tar": b"no tar\n" * 999}), {}, r"it is truncated or no tar file"),
    "a compressed tar": (lambda d, i: write_files(d, {"a.tar": b"\x1f\x8b" + bytes(99)}), {}, r"it is compressed \(gzip\); decompress it"),
    "a symbolic link": (lambda d, i: with_link(d / "a.tar", tarfile.SYMTYPE), {}, r"SOURCE: member 1.png is a link \(got 'a.tar'\)"),
    "a hard link": (lambda d, i: with_link(d / "a.tar", tarfile.LNKTYPE), {}, r"SOURCE: member 1.png is a link"),
    "a device": (lambda d, i: with_link(d / "a.tar", tarfile.BLKTYPE), {}, r"SOURCE: member 1.png is no plain file"),
    "a member twice": (lambda d, i: write_tar(d / "a.tar", [*sample(png=png(1)), *sample(png=png(2))]), {}, r"member 00000.png occurs twice"),
    "a key twice": (lambda d, i: write_tar(d / "a.tar", [*members(i, label=as_name), *members(i, label=as_name)]), {},
        r"SOURCE: a.tar and a.tar have the same key \(got 'a.tar/0.*'\); give each row a key of its own"),
    "a shard that is not there": (lambda d, i: write_tar(d / "a.tar", members(i, label=as_name)), {"source_files": ("a.tar", "b.tar")},
        r"SOURCE: there is no such file \(got 'b.tar'\)"),
    "fractions as labels": (lambda d, i: write_tar(d / "a.tar", sample(png=png(1), json=b'{"label": 0.5}')), {},
        r"--label-column: the value of a.tar/00000.png is 0.5"),
    "pickled arrays": (lambda d, i: save_npy(d, images=np.array([{}, {}], object), labels=np.array([0, 1])), {},
        r"SOURCE: it holds Python objects, which are code to run; save numbers or text \(got 'images.npy'\)"),
    "images of floats": (lambda d, i: save_npy(d, images=np.zeros((2, 4, 4)), labels=np.array([0, 1])), {},
        r"SOURCE: has values of type float64, not uint8 from 0 to 255 \(got 'images.npy'\); save an array"),
    "flat images": (lambda d, i: save_npy(d, images=np.zeros((2, 16), np.uint8), labels=np.array([0, 1])), {}, r"has images of shape \(16,\), not \(height"),
    "channels first": (lambda d, i: save_npy(d, images=np.zeros((2, 3, 8, 8), np.uint8), labels=np.array([0, 1])), {}, r"has images of shape \(3, 8, 8\)"),
    "fewer labels": (lambda d, i: save_npy(d, images=arrays(i)[0], labels=arrays(i)[1][1:]), {}, r"has 23 rows, and images.npy has 24 \(got 'labels.npy'\)"),
    "one-hot labels": (lambda d, i: save_npy(d, images=arrays(i)[0], labels=np.eye(24)), {}, r"has shape \(24, 24\), not \(24,\) .*argmax"),
    "no labels": (lambda d, i: save_npy(d, images=arrays(i)[0]), {}, r"--label-column: .* has no such column; there are \['images'\]"),
    "an array that was cut": (lambda d, i: (save_npy(d, images=arrays(i)[0], labels=arrays(i)[1]), cut(d / "images.npy", 900)), {},
        r"SOURCE: it is truncated: 24 rows should be there \(got 'images.npy'\)"),
    "a header of another shape": (lambda d, i: write_files(d, {"images.npy": b"\x93NUMPY\1\0" + b"\xff\xff" + bytes(9)}), {}, r"its header has 65,535|its header is damaged"),
    "an archive that was cut": (lambda d, i: (save_npz(d / "a.npz", x=arrays(i)[0], y=arrays(i)[1]), cut(d / "a.npz", 900)), {}, r"it is truncated or no npz file"),
    "an MDS shard that was cut": (lambda d, i: mosaicml(d, lambda f: cut(f / "shard.00001.mds", 500)), {}, r"SOURCE: it is truncated \(got 'shard.00001.mds'\)"),
    "MDS without an index": (lambda d, i: mosaicml(d, lambda f: (f / "index.json").unlink()), {}, r"there is no index.json beside it \(got 'shard.00000.mds'\)"),
    "an index of other samples": (lambda d, i: mosaicml(d, lambda f: edited(f, '"samples": 9', '"samples": 8')), {}, r"it has 9 samples, and index.json says 8"),
    "an MDS shard that is not there": (lambda d, i: mosaicml(d / "train", lambda f: (f / "shard.00001.mds").unlink()), {},
        r"SOURCE: train/index.json names it, and it is not there \(got 'train/shard.00001.mds'\); copy it"),
    "an MDS shard that is compressed": (lambda d, i: mosaicml(d, lambda f: (f / "shard.00001.mds").rename(f / "shard.00001.mds.zstd")), {},
        r"it is not there, only shard.00001.mds.zstd \(got 'shard.00001.mds'\); decompress it"),
    "an index with fewer sizes": (lambda d, i: mosaicml(d, lambda f: indexed(f, lambda s: s["column_sizes"].pop())), {},
        r"index.json beside it is damaged \(2 column_names, 2 column_encodings, 1 column_sizes\) \(got 'shard.00000.mds'\)"),
    "an index without names": (lambda d, i: mosaicml(d, lambda f: indexed(f, lambda s: s.pop("column_names"))), {}, r"column_names, .* is no list"),
    "an index with a name twice": (lambda d, i: mosaicml(d, lambda f: indexed(f, lambda s: s.update(column_names=["image", "image"]))), {}, r"column 'image' is named twice"),
    "an index with numbers as names": (lambda d, i: mosaicml(d, lambda f: indexed(f, lambda s: s.update(column_names=[1, 2]))), {}, r"a name or an encoding is no text"),
    "an index of another format": (lambda d, i: mosaicml(d, lambda f: indexed(f, lambda s: s.update(format="csv"))), {}, r"format 'csv' instead of 'mds'"),
    "an index with a size that is no number's": (lambda d, i: mosaicml(d, lambda f: indexed(f, lambda s: s.update(column_sizes=[None, 3]))), {}, r"a value of int has 3 bytes"),
    "labels without images": (lambda d, i: save_npy(d, train_images=arrays(i)[0], train_labels=arrays(i)[1], test_labels=arrays(i)[1]), {},
        r"SOURCE: holds labels, and no images are beside it \(got 'test_labels.npy'\)"),
    "arrays with and without a split": (lambda d, i: save_npy(d, images=arrays(i)[0], labels=arrays(i)[1], test_images=arrays(i)[0], test_labels=arrays(i)[1]), {},
        r"SOURCE: its name says no split, and that of test_images.npy does \(got 'images.npy'\)"),
    "two arrays of labels": (lambda d, i: save_npy(d, images=arrays(i)[0], labels=arrays(i)[1], y=arrays(i)[1]), {},
        r"SOURCE: several arrays may be the labels: \['labels', 'y'\] .*; name one of them with --label-column"),
    "two arrays of images": (lambda d, i: save_npy(d, images=arrays(i)[0], x=arrays(i)[0], y=arrays(i)[1]), {}, r"several arrays may be the images: \['images', 'x'\]"),
    "two archives with the same arrays": (lambda d, i: [save_npz(d / f"{n}.npz", x=arrays(i)[0], y=arrays(i)[1]) for n in "ab"], {},
        r"SOURCE: has the name of a.npz: x \(got 'b.npz: x'\)"),
    "an array that is not there": (lambda d, i: save_npy(d, images=arrays(i)[0], labels=arrays(i)[1]), {"source_files": ("images.npy", "labels.npy", "c.npy")},
        r"SOURCE: there is no such file \(got 'c.npy'\)"),
    "numbers that are no characters": (lambda d, i: save_npy(d, images=arrays(i)[0], labels=no_characters(arrays(i)[1])), {}, r"SOURCE: a label has numbers that are no characters \(got 'labels.npy'\)"),
    "a pickled column": (lambda d, i: mosaicml(d, lambda f: edited(f, '"png", "int"', '"pkl", "int"')), {}, r"--image-column: 'shard.00000.mds' has no such column; there are \['label'\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name: str, images: Path, tmp_path: Path) -> None:
    write, options, line = BAD[name]
    write(tmp_path / "source", images)
    with pytest.raises(UserError, match=line) as caught:
        build(tmp_path / "source", tmp_path / "ds", **options)
    assert "\n" not in caught.value.message
    assert not (tmp_path / "ds").exists()
