"""How ranks find each other and agree on a key: by Ray's control store and token, and by no port of torch."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from seedbed.ray_cluster import process_group
from seedbed.ray_cluster.process_group import group_key, take_group_key
from seedbed_api.errors import InfrastructureError
from support.gloo.control_store import ControlStore, a_store


def test_a_rank_waits_for_what_another_one_sets(control: ControlStore) -> None:
    mine, theirs = a_store("g"), a_store("g")
    timer = threading.Timer(0.1, theirs.set, ("0/1", b"address"))
    timer.start()
    assert mine.get("0/1") == b"address"
    assert mine.check(["0/1"])
    timer.join()


def test_groups_do_not_see_each_other(control: ControlStore) -> None:
    a_store("g").set("0/1", b"address")
    assert not a_store("h").check(["0/1"])


def test_what_does_not_come_is_named(control: ControlStore) -> None:
    with pytest.raises(TimeoutError, match="no worker has set 0/1 in time"):
        a_store("g", seconds=0.05).get("0/1")


def test_a_group_needs_the_token_of_its_ray() -> None:
    for environ in ({}, {"RAY_AUTH_TOKEN": ""}):
        with pytest.raises(InfrastructureError, match="no token of its Ray; set RAY_AUTH_TOKEN"):
            group_key(environ, b"nonce")


def test_a_key_is_of_one_token_and_one_group() -> None:
    tokens, nonces = ("a" * 43, "b" * 43), (b"1" * 32, b"2" * 32)
    keys = {group_key({"RAY_AUTH_TOKEN": token}, nonce) for token in tokens for nonce in nonces}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}


def test_a_key_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "_membership", SimpleNamespace(store=None, key=b"k"))
    assert (take_group_key(), take_group_key()) == (b"k", None)
