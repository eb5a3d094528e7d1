"""The walk over local folders: links are followed where they stand, cycles end, order on disk does not matter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.storage import LocalStorage, tree_walk
from seedbed_api.errors import UserError

POOL = ("pool/cat/0", "pool/cat/1", "pool/dog/0")


def tree(root: Path, files: tuple[str, ...], links: dict[str, str]) -> LocalStorage:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(root / target)
    return LocalStorage(root=root / "top")


TREES = {
    "one folder under two names": (
        {"top/a": "pool/cat", "top/b": "pool/cat"},
        ["a/0", "a/1", "b/0", "b/1"],
    ),
    "one folder in two splits": (
        {"top/train/cat": "pool/cat", "top/validation/cat": "pool/cat"},
        ["train/cat/0", "train/cat/1", "validation/cat/0", "validation/cat/1"],
    ),
    "a link back to the top": ({"top/a": "pool/cat", "top/back": "top"}, ["a/0", "a/1"]),
    "a link to the folder it lies in": ({"top/x/self": "top/x", "top/x/a": "pool/dog"}, ["x/a/0"]),
    "a link to a folder above the top": ({"top/a/up": "."}, ["a/up/pool/cat/0", "a/up/pool/cat/1", "a/up/pool/dog/0"]),
    "two folders that link to each other": (
        {"top/a/b": "top/b", "top/b/a": "top/a", "top/a/x": "pool/dog"},
        ["a/x/0", "b/a/x/0"],
    ),
    "a link to a link": ({"hop": "pool/dog", "top/a": "hop"}, ["a/0"]),
    "a link to a file": ({"top/a": "pool/cat/0"}, ["a"]),
    "a link to nothing": ({"top/a": "nowhere"}, ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_links_are_followed_where_they_stand_and_cycles_end(name: str, tmp_path: Path) -> None:
    links, expected = TREES[name]
    assert tree(tmp_path, POOL, links).list() == expected


@pytest.mark.parametrize("name", TREES)
def test_a_folder_below_holds_what_the_whole_listing_says(name: str, tmp_path: Path) -> None:
    links, expected = TREES[name]
    store = tree(tmp_path, POOL, links)
    for prefix in {path.rpartition("/")[0] for path in expected} - {""}:
        assert store.list(prefix) == [path for path in expected if path.startswith(f"{prefix}/")]


@pytest.mark.parametrize("name", TREES)
def test_the_order_of_a_disk_does_not_matter(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links, expected = TREES[name]
    store = tree(tmp_path, POOL, links)
    scan = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with scan(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert store.list() == expected


def test_paths_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(12)]
    links = {f"top/{one}/{other}": f"top/{other}" for one in names for other in names if one != other}
    with pytest.raises(UserError, match="link to each other") as caught:
        tree(tmp_path, POOL, links).list()
    assert "\n" not in caught.value.message


def test_nested_links_are_followed_as_deep_as_promised(tmp_path: Path) -> None:
    depth = tree_walk.MOST_NESTED_LINKS
    links = {f"pool/l{number}/next": f"pool/l{number + 1}" for number in range(1, depth)}
    store = tree(tmp_path, (f"pool/l{depth}/x",), {"top/next": "pool/l1", **links})
    assert store.list() == ["/".join(["next"] * depth + ["x"])]


def test_a_folder_that_is_not_entered_is_told_and_not_looked_into(tmp_path: Path) -> None:
    tree(tmp_path, ("top/.git/x", "top/a/y"), {})
    entries = list(tree_walk.walk(tmp_path / "top", enters=lambda name: name != ".git"))
    assert {entry.path for entry in entries if entry.is_folder} == {"", "a", ".git"}
    assert {entry.path for entry in entries if not entry.is_folder} == {"a/y"}


FOLDERS = ["a", "b", "a/x", "b/x", "a/x/y"]
PLACES = st.sampled_from([f"{folder}/{name}" for folder in FOLDERS for name in ("l", "m")])
LINKS = st.dictionaries(PLACES, st.sampled_from(["", *FOLDERS, "nowhere", "a/x/file"]), max_size=4)


@settings(deadline=None, max_examples=30)
@given(links=LINKS, seed=st.integers(0, 5))
def test_any_tree_is_finite_and_told_alike_from_everywhere(tmp_path_factory, links, seed) -> None:
    """Whatever links to what: the walk ends, in one order, and a folder below holds what the whole says."""
    names = [f"{folder}/file" for folder in FOLDERS]
    listings = []
    for order in (Random(seed), Random(seed + 1)):
        root = tmp_path_factory.mktemp("tree") / "top"
        for name in order.sample(names, len(names)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        for place in order.sample(sorted(links), len(links)):
            (root / place).symlink_to(root / links[place])
        listings.append(LocalStorage(root=root).list())
    whole = listings[0]
    assert whole == listings[1]
    assert set(names) <= set(whole)
    assert len(whole) == len(set(whole))
    for folder in FOLDERS:
        below = LocalStorage(root=root).list(folder)
        assert below == [path for path in whole if path.startswith(f"{folder}/")]
