"""Versions are named by a tag or by the first digits of a digest, and by nothing that could be two of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from seedbed.cli.dataset import command
from seedbed.dataset import version_reference
from seedbed.dataset.lineage import list_versions
from seedbed.dataset.version_reference import open_version, parse_reference, resolve_version
from seedbed.dataset.version_tags import delete_tag, list_tags, set_tag
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, two_classes

REFERENCES = {
    "data": ("data", None),
    "data@v1": ("data", "v1"),
    "a@b/data": ("a@b/data", None),
    "a@b/data@v1": ("a@b/data", "v1"),
    "s3://bucket/data@sha256:abcdef": ("s3://bucket/data", "sha256:abcdef"),
    "s3://bucket/@v1": ("s3://bucket/", "v1"),
    "az://container@account": ("az://container@account", None),
    "https://user@host": ("https://user@host", None),
    "https://user:word@host/data@v1": ("https://user:word@host/data", "v1"),
    "https://host/data?sig=a@b": ("https://host/data?sig=a@b", None),
    "memory://x/data@v1": ("memory://x/data", "v1"),
}


@pytest.mark.parametrize("text", REFERENCES)
def test_what_a_reference_means(text: str) -> None:
    found = parse_reference(text)
    assert (found.url, found.version) == REFERENCES[text]


def test_a_local_folder_with_an_at_sign_is_meant_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "data@2026").mkdir()
    assert parse_reference(str(tmp_path / "data@2026")).version is None
    assert parse_reference(str(tmp_path / "data@2026@v1")).url == str(tmp_path / "data@2026")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    build(two_classes(tmp_path / "source"), tmp_path / "data")
    two_classes(tmp_path / "source", per_class=30)
    build(tmp_path / "source", tmp_path / "data", append=True)
    return open_storage(str(tmp_path / "data"))


def test_digits_of_a_digest_name_one_version(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, first = list_versions(storage)
    assert resolve_version(storage, first.digest[:13]) == first.digest
    assert open_version(parse_reference(f"{storage.url}@{first.digest[:15]}")).digest == first.digest
    assert open_version(parse_reference(storage.url)).digest == newest.digest
    assert newest.addition is not None
    assert (newest.parent, sum(newest.addition.added.values())) == (first.digest, 20)
    with pytest.raises(UserError, match="has no such version"):
        resolve_version(storage, "sha256:" + "0" * 20)
    twins = [f"sha256:{'ab' * 5}{digit}{'0' * 53}" for digit in "12"]
    monkeypatch.setattr(version_reference, "stored_digests", lambda _: twins)
    with pytest.raises(UserError, match=r"2 versions begin so.*write more digits"):
        resolve_version(storage, "sha256:ababab")


def test_a_tag_stays_until_it_is_moved(storage: Storage) -> None:
    newest, first = list_versions(storage)
    assert set_tag(storage, "v1", first.digest, move=False)
    assert not set_tag(storage, "v1", first.digest, move=False)
    with pytest.raises(UserError, match=r"it names version sha256:.*--move") as exists:
        set_tag(storage, "v1", newest.digest, move=False)
    assert exists.value.reason == "TagExists"
    assert resolve_version(storage, "v1") == first.digest
    set_tag(storage, "v1", newest.digest, move=True)
    set_tag(storage, "2026-07", first.digest, move=False)
    assert list_tags(storage) == {"2026-07": first.digest, "v1": newest.digest}
    delete_tag(storage, "v1")
    with pytest.raises(UserError, match="has no such tag"):
        resolve_version(storage, "v1")


@pytest.mark.parametrize("name", ["", ".hidden", "../x", "a/b", "x" * 65, "a b", "v\x1b[31m", "sha256:abc"])
def test_a_name_that_is_no_tag_is_refused(storage: Storage, name: str) -> None:
    with pytest.raises(UserError, match="TAG: a tag has"):
        set_tag(storage, name, "sha256:" + "0" * 64, move=True)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"digest":"sha256:1","tag":"v1"}', b"{" * 5000])
def test_a_damaged_tag_is_refused_by_name(storage: Storage, data: bytes) -> None:
    storage.put("tags/v1.json", data)
    with pytest.raises(UserError, match=r"tags/v1\.json") as refused:
        resolve_version(storage, "v1")
    assert refused.value.reason == "InvalidDataset"


@pytest.mark.parametrize("verb", ["build", "add"])
def test_a_version_is_no_place_to_build(tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = two_classes(tmp_path / "source", per_class=2)
    monkeypatch.chdir(tmp_path)
    for dest in ("data@v1", str(tmp_path / "data@v1"), "s3://bucket/data@sha256:123456"):
        found = CliRunner().invoke(command, [verb, str(source), dest])
        assert isinstance(found.exception, UserError)
        assert "DEST: names a version of a dataset, and a build makes a new one" in found.exception.message
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_is_there_under_the_whole_name_is_a_place_to_build(tmp_path: Path) -> None:
    source = two_classes(tmp_path / "source", per_class=20)
    (tmp_path / "me@home").mkdir()
    found = CliRunner().invoke(command, ["build", str(source), str(tmp_path / "me@home")])
    assert found.exception is None
    assert (tmp_path / "me@home/manifest.json").exists()
