"""Three writers feed a table in any order: the newest state wins, the dead stay dead, missing are found."""

from __future__ import annotations

import random

import pytest

from seedbed_operator.informer_cache.cache import MOST_TOMBSTONES, CachedObject, ObjectTable

KEY = ("team", "seedlings")


def entry(uid: str, version: int) -> CachedObject[str]:
    return CachedObject(uid=uid, version=version, value=f"{uid}@{version}")


@pytest.mark.parametrize(
    ("story", "seen"),
    [
        pytest.param([("put", "a", 1), ("put", "a", 2)], "a@2", id="a change"),
        pytest.param([("put", "a", 2), ("put", "a", 1)], "a@2", id="an event that comes late"),
        pytest.param([("put", "a", 1), ("drop", "a", 0)], None, id="a deletion"),
        pytest.param(
            [("drop", "a", 0), ("put", "a", 1)], None, id="a deletion that came before the creation"
        ),
        pytest.param(
            [("put", "a", 1), ("drop", "a", 0), ("put", "a", 5)], None, id="an answer after the deletion"
        ),
        pytest.param([("put", "a", 1), ("put", "b", 2)], "b@2", id="another object under the name"),
        pytest.param([("put", "b", 2), ("put", "a", 1)], "b@2", id="a late word of the one before"),
        pytest.param([("put", "a", 1), ("put", "b", 2), ("put", "a", 3)], "b@2", id="its last word is void"),
        pytest.param(
            [("put", "b", 2), ("drop", "a", 0)], "b@2", id="the deletion of the one before comes late"
        ),
    ],
)
def test_the_state_that_is_known(story: list[tuple[str, str, int]], seen: str | None) -> None:
    table: ObjectTable[str] = ObjectTable()
    for verb, uid, version in story:
        table.put(KEY, entry(uid, version)) if verb == "put" else table.drop(KEY, uid)
    assert table.get(KEY) == seen


def test_any_order_of_two_lives_ends_in_the_same_state() -> None:
    words = [("put", "a", 1), ("put", "a", 3), ("drop", "a", 4), ("put", "b", 5), ("put", "b", 6)]
    for seed in range(200):
        random.Random(seed).shuffle(words)
        table: ObjectTable[str] = ObjectTable()
        for verb, uid, version in words:
            table.put(KEY, entry(uid, version)) if verb == "put" else table.drop(KEY, uid)
        assert table.get(KEY) == "b@6", words


def test_a_change_is_told_once() -> None:
    table: ObjectTable[str] = ObjectTable()
    assert [table.put(KEY, entry("a", version)) for version in (1, 1, 2, 1)] == [True, False, True, False]
    assert [table.drop(KEY, uid) for uid in ("other", "a", "a")] == [False, True, False]


def test_ghosts_are_what_a_list_lacks_and_is_not_newer() -> None:
    table: ObjectTable[str] = ObjectTable()
    for name, version in (("listed", 5), ("ghost", 6), ("created-since", 20)):
        table.put(("team", name), entry(name, version))
    table.put(("other", "elsewhere"), entry("elsewhere", 7))
    assert table.missing("team", {"listed"}, 10) == [(("team", "ghost"), "ghost")]
    assert {uid for _, uid in table.missing(None, {"listed"}, 10)} == {"ghost", "elsewhere"}


def test_tombstones_are_bounded() -> None:
    table: ObjectTable[str] = ObjectTable()
    for number in range(MOST_TOMBSTONES + 10):
        table.drop(KEY, str(number))
    assert table.put(KEY, entry("0", 1))
    assert not table.put(KEY, entry(str(MOST_TOMBSTONES), 2))
