"""Names of local places: absolute and normal, wherever the process goes afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.storage import absolute_url, open_storage
from seedbed_api.errors import UserError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in `<tmp>/project`; `<tmp>/link` leads to `<tmp>/far/away`; the home folder is `<tmp>/home`."""
    for folder in ("project", "far/away", "home"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far/away")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("data", "project/data", id="relative"),
        pytest.param("./data/", "project/data", id="a dot and a trailing slash"),
        pytest.param("../data", "data", id="above"),
        pytest.param("a/../../data//x/.", "data/x", id="up and down"),
        pytest.param("~/data", "home/data", id="home"),
        pytest.param("~/../data", "data", id="above home"),
        pytest.param("../link/data", "link/data", id="the name of a link stays"),
        pytest.param("../link/../data", "far/data", id="above a link is where it leads"),
        pytest.param("a%20b", "project/a%20b", id="percent signs are letters of a path"),
        pytest.param("file://data", "project/data", id="relative URL"),
        pytest.param("file://../data", "data", id="URL above"),
        pytest.param("FILE://{here}/x/../data/", "data", id="absolute URL with dots"),
        pytest.param("{here}/project/../data", "data", id="absolute with dots"),
        pytest.param("/../..{here}/data", "data", id="above the root is the root"),
    ],
)
def test_a_local_place_becomes_absolute_and_normal(
    here: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    place = absolute_url(written.format(here=here))
    assert place == str(here / meant)
    assert open_storage(written.format(here=here)).url == f"file://{here / meant}"
    monkeypatch.chdir("/")
    monkeypatch.delenv("HOME")
    assert absolute_url(place) == place


@pytest.mark.parametrize("url", ["s3://b/a/../x", "https://h/x?a=../b", "memory://x", "pvc://claim/x"])
def test_what_no_folder_of_this_machine_decides_stays(here: Path, url: str) -> None:
    assert absolute_url(url) == url


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("s3:/bucket/x", "write s3://bucket/x, or ./s3:/bucket/x"),
        ("https:/host/x", "write https://host/x"),
        ("file:/a/b", "write /a/b, or"),
        ("file:../x", "write ../x, or"),
        ("file:", "write a path, or"),
        ("~nobody-of-this-name/x", "set HOME, or give the full path"),
    ],
)
def test_what_was_meant_otherwise_is_refused(here: Path, written: str, fix: str) -> None:
    with pytest.raises(UserError, match="uri: ") as caught:
        open_storage(written)
    assert fix in caught.value.message


def test_a_removed_working_folder_is_told_of_only_where_it_is_needed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = here / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert absolute_url(str(here / "x/../data")) == str(here / "data")
    with pytest.raises(UserError, match=r"the working folder was removed .*; change to a folder that exists"):
        absolute_url("data")
