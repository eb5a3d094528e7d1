"""A dataset whose files somebody changed, with all hashes renewed that no digest covers, is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from seedbed.cli.dataset import command
from seedbed.dataset import Dataset, open_dataset
from seedbed.dataset.file_format import SPLITS, Shard, load_manifest
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.manifest_check import digest_of
from seedbed.dataset.renewal import renew_dataset
from seedbed.feed import open_evaluation, open_feed
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, two_classes
from support.datasets.small_datasets import a_stream
from support.datasets.tampering import (
    CHANGES,
    Document,
    index_rows,
    load,
    on_index,
    sealed,
    set_row,
    store,
    swap_labels,
    train_shards,
    version_of,
    without_row_digests,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    top = tmp_path_factory.mktemp("tampering")
    build(two_classes(top / "source", per_class=30), top / "ds", shard_bytes=4_000, batch_bytes=1_500)
    return top / "ds"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "ds"))


def opened(folder: Path, *, pinned: bool = True) -> Dataset:
    digest = json.loads((folder / "manifest.json").read_bytes())["digest"] if pinned else None
    return open_dataset(open_storage(str(folder)), digest=digest)


def train(folder: Path, **changes) -> list[bytes]:
    """Read what a run reads: the counts, one epoch of train, every evaluation."""
    dataset = opened(folder)
    for split in SPLITS:
        dataset.rows_per_class(split=split)
    steps = -(-dataset.manifest.rows("train") // 12)
    spec = a_stream(folder, digest=dataset.digest, total_steps=steps, **changes)
    seen = []
    with open_feed("Local", spec, leaves=range(4), steps=range(steps)) as batches:
        seen += [batch.labels_m.tobytes() + batch.pixels_mhwc.tobytes() for batch in batches]
    for split in ("validation", "test"):
        with open_evaluation(spec, split, rank=0, world=1, batch_rows=5) as batches:
            seen += [batch.labels_b.tobytes() + batch.pixels_bhwc.tobytes() for batch in batches]
    return seen


def refusal_of(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.reason == "InvalidDataset"
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_refuses_what_its_pin_does_not_commit_to(name: str, folder: Path) -> None:
    change, says = CHANGES[name]
    change(folder)
    line = refusal_of(lambda: train(folder))
    assert [word for word in says if word not in line] == [], line


@pytest.mark.parametrize("name", CHANGES)
def test_a_check_finds_what_a_run_refuses(name: str, folder: Path) -> None:
    CHANGES[name][0](folder)
    answer = CliRunner().invoke(command, ["check", str(folder)])
    assert isinstance(answer.exception, UserError)
    assert answer.exception.reason == "InvalidDataset"


@pytest.mark.parametrize("name", CHANGES)
def test_a_dataset_without_row_digests_in_its_manifest_hides_nothing(name: str, folder: Path) -> None:
    CHANGES[name][0](folder)
    if name in ("the digests of two shards", "the row digests of a shard"):
        return  # these are the digests that are left out
    without_row_digests(folder)
    refusal_of(lambda: train(folder))


def test_a_whole_dataset_is_read(folder: Path) -> None:
    assert len(train(folder)) == 20
    assert check_dataset(opened(folder)) == []


@pytest.mark.parametrize("part", ["id", "key", "label"])
def test_a_selection_reads_the_rows_that_it_leaves_out(part: str, folder: Path) -> None:
    """A key decides whether a row is read at all; only the image shows whether the key is true."""
    digest = opened(folder).digest
    value = {"id": b"x" * 32, "key": b"x" * 32, "label": 1 - index_rows(folder, train_shards(load(folder))[0])[2]["label"]}[part]  # fmt: skip
    on_index(set_row(2, **{part: value}))(folder)
    dataset = open_dataset(open_storage(str(folder)), digest=digest)
    for selection in ({"subset": "0.5"}, {"fold": (0, 2)}, {"fold": (1, 2), "split": "validation"}):
        line = refusal_of(lambda selection=selection: dataset.view(**selection))
        assert "row 2 of shard shards/train-" in line


def test_a_selection_of_checked_indices_reads_nothing_again(folder: Path, monkeypatch) -> None:
    storage = open_storage(str(folder))
    checked = open_dataset(storage).check_rows()
    read = []
    monkeypatch.setattr("seedbed.dataset.reader.iter_images", lambda _store, shard, _index: read.append(shard) or iter(()))  # fmt: skip
    open_dataset(storage, checked_indices=checked).view(subset="0.5")
    assert read == []
    open_dataset(storage, checked_indices="0" * 64).view(subset="0.5")
    assert all(isinstance(shard, Shard) for shard in read)
    assert len(read) > 1
    read.clear()
    on_index(set_row(2, key=b"x" * 32))(folder)
    open_dataset(storage, checked_indices=checked).view(subset="0.5")
    assert read, "these are other indices than those that were checked"


def test_the_version_of_another_digest_is_refused(folder: Path) -> None:
    """Only versions/ holds the pinned version once a dataset has grown."""
    old = load(folder)
    build(two_classes(folder.parent / "more", per_class=40), folder, append=True)
    wanted = old["digest"]
    assert open_dataset(open_storage(str(folder)), digest=wanted).manifest.version == 1
    shutil.copy(folder / version_of(load(folder)), folder / version_of(old))
    line = refusal_of(lambda: open_dataset(open_storage(str(folder)), digest=wanted))
    assert version_of(old) in line
    forged = load(folder) | {"digest": wanted}
    (folder / "versions").joinpath(Path(version_of(old)).name).unlink()
    manifest = (folder / "manifest.json").read_bytes()
    store(folder, forged)
    (folder / "manifest.json").write_bytes(manifest)
    assert version_of(old) in refusal_of(lambda: open_dataset(open_storage(str(folder)), digest=wanted))


@pytest.mark.parametrize("name", ["the order of two shards", "the split of a shard", "labels, all digests renewed"])  # fmt: skip
def test_a_true_copy_of_the_version_names_the_shard(name: str, folder: Path) -> None:
    copy = folder / version_of(load(folder))
    true = copy.read_bytes()
    CHANGES[name][0](folder)
    copy.write_bytes(true)
    line = refusal_of(lambda: opened(folder))
    assert "shard shards/train-" in line
    assert f"{version_of(load(folder))} is whole" in line


def test_a_dataset_that_states_another_digest_is_not_the_pinned_one(folder: Path) -> None:
    pinned = opened(folder).digest
    on_index(swap_labels, digests=True, shards=True)(folder)
    document = load(folder)
    line = refusal_of(lambda: opened(folder))
    store(folder, document | {"digest": line.split(" have ")[1].split(" ")[0]})
    assert opened(folder).digest != pinned
    (folder / f"versions/{pinned.removeprefix('sha256:')}.json").unlink()
    with pytest.raises(UserError) as caught:
        open_dataset(open_storage(str(folder)), digest=pinned)
    assert caught.value.reason == "DatasetChanged"


# -- datasets of before manifests named row digests


def test_an_older_dataset_is_read_bit_for_bit_and_renewed(folder: Path) -> None:
    seen, manifest = train(folder), (folder / "manifest.json").read_bytes()
    without_row_digests(folder)
    old = opened(folder)
    assert not old.names_row_digests
    assert train(folder) == seen
    assert check_dataset(old) == []
    version = version_of(load(folder))
    assert renew_dataset(open_storage(str(folder))) == [version, "manifest.json"]
    assert (folder / "manifest.json").read_bytes() == manifest == (folder / version).read_bytes()
    assert opened(folder).names_row_digests
    assert renew_dataset(open_storage(str(folder))) == []


def test_all_versions_are_renewed_and_an_extension_of_an_older_dataset_is_current(folder: Path) -> None:
    old = load(folder)["digest"]
    without_row_digests(folder)
    build(two_classes(folder.parent / "more", per_class=40), folder, append=True)
    storage = open_storage(str(folder))
    assert open_dataset(storage).names_row_digests
    assert not open_dataset(storage, digest=old).names_row_digests
    assert renew_dataset(storage) == [f"versions/{old.removeprefix('sha256:')}.json"]
    assert open_dataset(storage, digest=old).names_row_digests


def test_a_tampered_older_dataset_is_not_renewed(folder: Path) -> None:
    on_index(swap_labels, digests=True, shards=True)(folder)
    without_row_digests(folder)
    before = (folder / "manifest.json").read_bytes()
    refusal_of(lambda: renew_dataset(open_storage(str(folder))))
    assert (folder / "manifest.json").read_bytes() == before


# -- hostile manifests


def nested(document: Document) -> bytes:
    return b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"," + json.dumps(document).encode()[1:]


def repeated(document: Document) -> bytes:
    return b'{"digest":"sha256:0",' + json.dumps(document).encode()[1:]


HOSTILE_TEXTS = {
    "nested arrays": nested,
    "a key twice": repeated,
    "not UTF-8": lambda document: b"\xff\xfe" + json.dumps(document).encode(),
    "NaN": lambda document: json.dumps(document | {"version": float("nan")}).encode(),
    "a number of 5,000 digits": lambda document: b'{"x":' + b"9" * 5000 + b"}",
    "a number above 2**53": lambda document: json.dumps(document | {"version": 2**60, "sha256": ""}).encode(),
    "half a surrogate": lambda document: json.dumps(document | {"x": "\ud800", "sha256": ""}).encode(),
    "null": lambda document: b"null",
    "nothing": lambda document: b"",
}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_a_hostile_text_is_no_manifest(name: str, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(HOSTILE_TEXTS[name](load(folder)))
    assert "is not a dataset manifest" in refusal_of(lambda: opened(folder, pinned=False))


def first(**values):
    return lambda document: document["shards"][0].update(values)


def first_batch(**values):
    return lambda document: document["shards"][0]["batches"][0].update(values)


HOSTILE_VALUES = {
    "a path above": (first(path="../../etc/passwd"), "is not a relative path"),
    "an index above": (first(index_path="shards/../../x"), "is not a relative path"),
    "an absolute path": (first(path="/etc/passwd"), "is not a relative path"),
    "a URL": (first(path="http://169.254.169.254/x"), "is not a relative path"),
    "a hidden file": (first(path="shards/.x"), "is not a relative path"),
    "a query": (first(path="shards/x?y"), "is not a relative path"),
    "control characters": (first(path="shards/\x1b[2J"), "is not a relative path"),
    "a path of a line and more": (first(path="shards/x\ny"), "is not a relative path"),
    "a very long path": (first(path="x" * 5000), "is not a relative path"),
    "an empty path": (first(path=""), "is not a relative path"),
    "rows that no memory holds": (first(rows=2**50), "inconsistent"),
    "no rows": (first(rows=0, batches=[]), "inconsistent"),
    "rows below zero": (first(rows=-5), "inconsistent"),
    "an unknown split": (first(split="holdout"), "inconsistent"),
    "a text for a number": (first(rows="3"), "is not a dataset manifest"),
    "true for a number": (first(rows=True), "is not a dataset manifest"),
    "no hash": (first(index_sha256="x"), "sha256"),
    "a row digest of no hash": (first(rows_sha256="A" * 64), "sha256"),
    "a batch before the file": (first_batch(offset=-1), "impossible"),
    "a batch behind the file": (first_batch(offset=10**9), "impossible"),
    "a batch that no memory holds": (first_batch(length=2**40), "impossible"),
    "batches that overlap": (lambda d: first_batch(length=d["shards"][0]["batches"][0]["length"] + 60)(d), "overlap"),
    "more rows than bytes": (lambda d: (first(rows=10**6)(d), first_batch(rows=10**6 - sum(b["rows"] for b in d["shards"][0]["batches"][1:]))(d)), "impossible"),
    "counts of no split": (lambda d: d["counts"].update(holdout=[0, 0]), "other splits"),
    "counts below zero": (lambda d: d["counts"].update(test=[-1, sum(d["counts"]["test"]) + 1]), "counts of split test"),
    "enormous counts": (lambda d: d["counts"].update(train=[2**52, 1]), "counts of split train"),
    "counts of too many classes": (lambda d: d["counts"]["train"].append(0), "counts of split train"),
    "counts left out": (lambda d: d["counts"].pop("train"), "counts of split train"),
    "a class twice": (lambda d: d.update(classes=["a", "a"]), "twice"),
    "no class": (lambda d: d.update(classes=[]), "no classes"),
    "a version of zero": (lambda d: d.update(version=0), "version"),
    "a digest of another kind": (lambda d: d.update(digest="md5:0"), "digest"),
    "a digest that is a path": (lambda d: d.update(digest="sha256:../../x"), "digest"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_a_hostile_value_is_named(name: str, folder: Path) -> None:
    change, says = HOSTILE_VALUES[name]
    document = load(folder)
    change(document)
    (folder / "manifest.json").write_bytes(sealed(document))
    assert says in refusal_of(lambda: opened(folder, pinned=False))


def test_a_manifest_and_an_index_are_bounded_before_they_are_read(folder: Path) -> None:
    shard = load(folder)["shards"][0]
    with (folder / shard["index_path"]).open("ab") as index:
        index.truncate(1 << 33)
    assert "more than" in refusal_of(lambda: opened(folder).index(0))
    with (folder / "manifest.json").open("ab") as manifest:
        manifest.truncate(1 << 33)
    assert "more than 268435456" in refusal_of(lambda: opened(folder, pinned=False))


def test_a_pin_that_is_a_path_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="is no digest"):
        open_dataset(open_storage(str(folder)), digest="sha256:../manifest")


def test_what_no_reader_needs_is_compared_by_a_check(folder: Path) -> None:
    document = load(folder)
    store(folder, document | {"contents": "0" * 64})
    (problem,) = check_dataset(opened(folder))
    assert problem.startswith("contents ")


def test_rows_of_two_splits_are_named_by_a_check(folder: Path) -> None:
    """A build writes each image once; a dataset that tests on images of train has another digest."""
    document = load(folder)
    twice = train_shards(document)[0] | {"split": "test"}
    document["shards"].append(twice | {"first_row": sum(shard["rows"] for shard in document["shards"])})
    labels = [row["label"] for row in index_rows(folder, twice)]
    document["counts"]["test"] = [
        count + labels.count(label) for label, count in enumerate(document["counts"]["test"])
    ]
    (folder / "manifest.json").write_bytes(sealed(document))
    line = refusal_of(lambda: opened(folder))
    document["digest"] = digest_of(load_manifest(sealed(document), where="x"))
    (folder / "manifest.json").write_bytes(sealed(document))
    assert line
    problems = check_dataset(opened(folder))
    first = document["shards"][-1]["first_row"]
    assert problems == [f"the image of row {first} of shard {twice['path']} is in another row before it"]


# -- each check is needed


class Anything:
    """Equal to every value."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


WITHOUT = {
    "the root": ("seedbed.dataset.manifest_reader.digest_of", lambda manifest: manifest.digest, "the order of two shards"),
    "the row digests of an index": ("seedbed.dataset.index_check.rows_sha256", lambda _index: Anything(), "labels, row digests renewed"),
    "the digest of a row": ("seedbed.feed.shard_index_cache.ImageLocation.holds", lambda _self, _image: True, "labels of two rows"),
    "the counts": ("seedbed.dataset.reader.Dataset._counts_of", lambda self, split: self.manifest.counts[split], "a row counted for another class"),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT)
def test_a_run_without_one_of_the_checks_would_take_a_changed_dataset(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replacement, change = WITHOUT[name]
    monkeypatch.setattr(target, replacement)
    CHANGES[change][0](folder)
    train(folder)
