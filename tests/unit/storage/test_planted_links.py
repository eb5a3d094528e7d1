"""Symbolic links, FIFOs and sockets that someone else planted below a folder: none is followed or waited for."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seedbed.runs import open_run
from seedbed.runs.run_deletion import remove_run
from seedbed.storage import LocalStorage, Storage, open_output, open_storage
from seedbed_api.errors import SeedbedError, UserError
from seedbed_api.pod_contract import env_vars
from support.storage.folder_contents import contents


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder of somebody, which must stay as it is."""
    folder = tmp_path / "elsewhere"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "deep/a"):
        (folder / name).write_bytes(b"mine")
    before = contents(folder)
    yield folder
    assert contents(folder) == before


LINKS: dict[str, tuple[str, str]] = {
    "a folder at the top": ("runs", ""),
    "a folder in between": ("runs/x", "deep"),
    "a file": ("runs/x/deep/a", "a"),
    "a link that leads up": ("runs/x/deep", "../../../elsewhere/deep"),
}
"""Where the link lies, and where it leads below `elsewhere`, or relative to itself."""
CHANGES: dict[str, Callable[[Storage], object]] = {
    "put": lambda store: store.put("runs/x/deep/a", b"theirs"),
    "create": lambda store: store.create("runs/x/deep/new", b"theirs"),
    "create what is there": lambda store: store.create("runs/x/deep/a", b"theirs"),
    "delete": lambda store: store.delete("runs/x/deep/a"),
    "delete below a child": lambda store: store.child("runs").child("x/deep").delete("a"),
    "put below a child": lambda store: store.child("runs/x").put("deep/a", b"theirs"),
}


def planted(root: Path, link: str, target: str, elsewhere: Path) -> None:
    place = root / link
    place.parent.mkdir(parents=True)
    place.symlink_to(target if target.startswith("..") else elsewhere / target)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("opened", [open_storage, open_output], ids=["source", "store"])
def test_no_change_goes_through_a_link(
    tmp_path: Path, elsewhere: Path, opened: Callable[[str], Storage], link: str, change: str
) -> None:
    planted(tmp_path / "root", *LINKS[link], elsewhere)
    store = opened(str(tmp_path / "root"))
    if link == "a file":  # what is replaced or removed is the link itself
        CHANGES[change](store)
        return
    with pytest.raises(UserError, match=r"is a symbolic link, which is not followed here") as caught:
        CHANGES[change](store)
    assert caught.value.reason == "OutputUnwritable"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("link", LINKS)
def test_a_store_reads_through_no_link_and_lists_it_like_a_file(
    tmp_path: Path, elsewhere: Path, link: str
) -> None:
    place, target = LINKS[link]
    planted(tmp_path / "root", place, target, elsewhere)
    store = open_output(str(tmp_path / "root"))
    assert store.list() == [place]
    for read in (store.read, store.size, store.exists):
        with pytest.raises(UserError, match="symbolic link"):
            read("runs/x/deep/a")
    store.delete(place)
    assert store.list() == []


def test_the_named_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk/below").mkdir(parents=True)
    (tmp_path / "data").symlink_to("disk/below")
    store = open_output(str(tmp_path / "data"))
    store.put("a/b", b"1")
    assert (tmp_path / "disk/below/a/b").read_bytes() == store.child("a").read("b") == b"1"
    assert store.list() == ["a/b"]


def test_a_source_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/a").write_bytes(b"1")
    (tmp_path / "top").mkdir()
    (tmp_path / "top/linked").symlink_to("../pool")
    source = open_storage(str(tmp_path / "top"))
    assert source.list() == ["linked/a"]
    assert source.read("linked/a") == source.read_range("linked/a", 0, 1) == b"1"
    assert source.size("linked/a") == 1


def special(kind: str, path: Path) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
        return
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            listening.bind(path.name)
        finally:
            os.chdir(before)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("opened", [open_storage, open_output], ids=["source", "store"])
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "behind a link"])
@pytest.mark.parametrize("kind", ["FIFO", "socket"])
def test_special_files_are_refused_at_once(
    tmp_path: Path, opened: Callable[[str], Storage], kind: str, *, linked: bool
) -> None:
    (tmp_path / "root").mkdir()
    special(kind, tmp_path / ("special" if linked else "root/a"))
    if linked:
        (tmp_path / "root/a").symlink_to("../special")
    store = opened(str(tmp_path / "root"))
    for read in (store.read, store.size, store.exists, lambda path: store.read_range(path, 0, 1)):
        with pytest.raises(UserError, match=f"is a {kind}|symbolic link"):
            read("a")
    assert not store.create("a", b"1")
    store.put("a", b"1")
    assert store.read("a") == b"1", "replaced"


def test_a_folder_that_turns_into_a_link_meanwhile_is_not_followed(tmp_path: Path, elsewhere: Path) -> None:
    """Between the look at a folder and its use there is no moment in which it can be exchanged."""
    root, ended = tmp_path / "root", threading.Event()
    (root / "runs").mkdir(parents=True)
    (root / "link").symlink_to(elsewhere)

    def exchange() -> None:
        while not ended.is_set():
            (root / "runs").rename(root / "kept")
            (root / "link").rename(root / "runs")
            (root / "runs").rename(root / "link")
            (root / "kept").rename(root / "runs")

    thread = threading.Thread(target=exchange)
    thread.start()
    store, outcomes = open_output(str(root)), set()
    try:
        for _ in range(2000):
            try:
                store.delete("runs/a")
                outcomes.add("done")
            except SeedbedError:
                outcomes.add("refused")
    finally:
        ended.set()
        thread.join()
    assert "done" in outcomes, "the folder was there at times"


class TestClaims:
    """A claim is shared with its namespace; what is mounted beside it is not."""

    @pytest.fixture
    def claims(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv(env_vars.CLAIMS_FOLDER, str(tmp_path / "pvc"))
        (tmp_path / "pvc/data/v2").mkdir(parents=True)
        (tmp_path / "pvc/data/v2/a").write_bytes(b"1")
        return tmp_path / "pvc"

    def test_links_within_the_claim_are_read(self, claims: Path) -> None:
        (claims / "data/newest").symlink_to("v2")
        (claims / "data/v2/b").symlink_to(claims / "data/v2/a")
        source = open_storage("pvc://data/newest")
        assert source.read("a") == source.read("b") == b"1"
        open_output("pvc://data/newest").put("c", b"2")
        assert (claims / "data/v2/c").read_bytes() == b"2"

    @pytest.mark.parametrize("opened", [open_storage, open_output], ids=["source", "store"])
    @pytest.mark.parametrize("url", ["pvc://data/out", "pvc://data/out/deep", "pvc://data"])
    def test_links_out_of_the_claim_are_refused(
        self, claims: Path, elsewhere: Path, url: str, opened: Callable[[str], Storage]
    ) -> None:
        (claims / "data/out").symlink_to(elsewhere)
        path, store = "out/a" if url == "pvc://data" else "a", opened(url)
        for use in (store.read, store.exists, lambda name: store.put(name, b"2"), store.delete):
            with pytest.raises(UserError, match="symbolic link"):
                use(path)


RUN = "sha256:" + "ab" * 32
IN_RUN: dict[str, str] = {
    "the run": f"runs/{'ab' * 32}",
    "a folder of the run": f"runs/{'ab' * 32}/checkpoints",
    "an object of the run": f"runs/{'ab' * 32}/recipe.json",
    "its logs": f"logs/{'ab' * 32}",
    "its leases": f"leases/{'ab' * 32}",
    "all runs": "runs",
    "the index of checkpoints": "trajectories",
}


@pytest.mark.parametrize("place", IN_RUN)
@pytest.mark.parametrize("opened", [open_storage, open_output], ids=["source", "store"])
def test_deleting_a_run_leaves_what_its_links_lead_to(
    tmp_path: Path, elsewhere: Path, opened: Callable[[str], Storage], place: str
) -> None:
    root = tmp_path / "store"
    LocalStorage(root=root).put(f"runs/{'ab' * 32}/metrics/0", b"1")
    link = root / IN_RUN[place]
    if link.is_dir():
        link.rename(tmp_path / "moved")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with contextlib.suppress(UserError):
        remove_run(open_run(opened(str(root)), RUN), version="1")
