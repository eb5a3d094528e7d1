"""pvc://claim/path: a folder of a volume claim where pods mount them, and refused anywhere else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from seedbed.storage import LocalStorage, open_storage
from seedbed_api.errors import UserError
from seedbed_api.pod_contract import env_vars


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(env_vars.CLAIMS_FOLDER, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("pvc://runs", "runs"),
        ("pvc://runs/", "runs"),
        ("pvc://runs/team-a/digits", "runs/team-a/digits"),
        ("pvc://runs//a/./b/", "runs/a/b"),
    ],
)
def test_a_claim_is_a_folder_of_the_pod(claims: Path, url: str, folder: str) -> None:
    storage = open_storage(url)
    storage.put("x/y", b"z")
    assert (claims / folder / "x/y").read_bytes() == b"z"
    assert isinstance(storage, LocalStorage), "read in place, as any folder"


def test_people_see_the_claim_and_not_where_it_is_mounted(claims: Path) -> None:
    storage = open_storage("pvc://runs/a")
    assert storage.url == "pvc://runs/a"
    child = pickle.loads(pickle.dumps(storage.child("b/c")))
    assert child.url == "pvc://runs/a/b/c"
    with pytest.raises(FileNotFoundError) as caught:
        child.read("gone")
    assert caught.value.filename == "pvc://runs/a/b/c/gone"


@pytest.mark.parametrize(
    "url", ["pvc://", "pvc:///a", "pvc://runs/../other", "pvc://runs/a/..", "pvc://../etc", "pvc://Runs/a"]
)
def test_a_path_cannot_leave_its_claim(claims: Path, url: str) -> None:
    with pytest.raises(
        UserError, match=r"uri: names no folder of a volume claim .*; write for example pvc://"
    ) as caught:
        open_storage(url)
    assert caught.value.reason == "InvalidStorageURL"


def test_outside_of_pods_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env_vars.CLAIMS_FOLDER, raising=False)
    with pytest.raises(UserError, match=r"uri: unknown scheme \(got 'pvc://runs/a'\); use .*mounted"):
        open_storage("pvc://runs/a")
