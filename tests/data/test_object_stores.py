"""The storage port over real servers of each kind: bytes, exclusive creation, pages, refusals, faults on the way."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from seedbed.storage import (
    ObjectLimit,
    OversizedObject,
    ShortRead,
    Storage,
    iter_paths,
    open_storage,
    remote_storage,
)
from seedbed.storage.secret_folder import STORE_KEYS
from seedbed_api.errors import InfrastructureError, UserError
from seedbed_api.exponential_backoff import ExponentialBackoff
from support.storage.creation_race import check_only_the_first_creator_wins
from testbed.faults import Fault, FaultProxy
from testbed.store_server import StoreServer

pytestmark = pytest.mark.s3


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in STORE_KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(server: StoreServer, tmp_path: Path) -> Storage:
    return open_storage(f"{server.bucket()}/runs", secret=server.secret(tmp_path / "secret"))


@pytest.fixture
def faulty(
    server: StoreServer, faults: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    monkeypatch.setattr(remote_storage, "BACKOFF", ExponentialBackoff(first=0.01, longest=0.1))
    secret = server.secret(tmp_path / "secret", endpoint=faults.endpoint)
    return open_storage(f"{server.through(server.bucket(), faults.endpoint)}/runs", secret=secret)


def test_only_the_first_of_many_creators_wins(store: Storage) -> None:
    for round_ in range(3):
        check_only_the_first_creator_wins(store, f"attempts/{round_}.json")


def test_create_is_exclusive_and_put_is_not(store: Storage) -> None:
    assert not store.exists("a/b")
    assert store.create("a/b", b"one")
    assert not store.create("a/b", b"two")
    assert store.read("a/b") == b"one"
    store.put("a/b", b"three")
    assert (store.read("a/b"), store.size("a/b"), store.exists("a/b")) == (b"three", 5, True)
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    assert store.create("a/b", b"")
    assert store.read("a/b") == b""


def test_absent_is_file_not_found_whatever_is_asked(store: Storage) -> None:
    store.put("folder/file", b"1")
    for path in ("nothing", "folder", "folder/file/below"):
        for operation in (store.read, store.size, lambda p: store.read_range(p, 0, 1)):
            with pytest.raises(FileNotFoundError):
                operation(path)
        assert not store.exists(path)


def test_ranges_are_exact_or_an_error(store: Storage) -> None:
    store.put("a", b"0123456789")
    assert store.read_range("a", 0, 10) == b"0123456789"
    assert store.read_range("a", 3, 4) == b"3456"
    assert store.read_range("a", 10, 0) == b""
    for start, length in ((0, 11), (9, 2), (10, 1), (100, 1)):
        with pytest.raises(ShortRead):
            store.read_range("a", start, length)


def test_an_object_of_many_pieces_comes_whole(store: Storage) -> None:
    data = bytes(range(256)) * (12 << 12)
    assert store.create("blobs/big", data)
    assert not store.create("blobs/big", data[:1])
    assert store.read("blobs/big") == data
    assert store.read_range("blobs/big", 5_000_000, 3_000_000) == data[5_000_000:8_000_000]


def test_a_limit_is_exact(store: Storage) -> None:
    limit = ObjectLimit(kind="a small object", most_bytes=1_000)
    for size in (0, 1, 999, 1_000):
        store.put("a", bytes(size))
        assert store.read("a", limit) == bytes(size)
    store.put("a", bytes(1_001))
    with pytest.raises(OversizedObject, match=r"has 1,001 bytes, a small object has at most 1,000"):
        store.read("a", limit)


NAMES = ("b/2", "a", "b/1", "b.txt", "b/c/3", "ö ü/%41#+&=1", "with space")


def test_listing_is_sorted_and_of_folders(store: Storage) -> None:
    for name in NAMES:
        store.put(name, name.encode())
    assert store.list() == sorted(NAMES)
    assert store.list("b") == store.list("b/") == ["b/1", "b/2", "b/c/3"]
    assert store.child("b").list() == ["1", "2", "c/3"]
    assert store.list("nothing") == []
    assert store.child("ö ü").read("%41#+&=1") == "ö ü/%41#+&=1".encode()
    for name in NAMES:
        store.delete(name)
    assert store.list() == []


def test_a_listing_comes_page_by_page(store: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_storage, "KEYS_PER_PAGE", 3)
    monkeypatch.setattr("seedbed.storage.object_store.KEYS_PER_PAGE", 3)
    names = sorted([*NAMES, *(f"many/{number:03}" for number in range(20))])
    for name in names:
        store.put(name, b"")
    assert sorted(iter_paths(store)) == store.list() == names
    assert sorted(iter_paths(store.child("b"))) == ["1", "2", "c/3"]
    assert list(iter_paths(store.child("nothing"))) == []


def test_usual_environment_opens_the_store(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    store = open_storage(server.bucket())
    store.put("a", b"1")
    assert store.list() == ["a"]


def test_pickled_store_carries_no_credential(store: Storage, server: StoreServer) -> None:
    store.put("a", b"1")
    pickled = pickle.dumps(store)
    for value in server.environment().values():
        assert value.encode() not in pickled
    assert pickle.loads(pickled).read("a") == b"1"


@pytest.mark.parametrize("server", ["gs", "az"], indirect=True)
@pytest.mark.parametrize("operation", ["read", "exists", "size", "list", "pages", "put", "create"])
def test_a_missing_bucket_is_the_users_to_mend(server: StoreServer, tmp_path: Path, operation: str) -> None:
    bucket = server.bucket()[:-1] + "-missing"
    store = open_storage(bucket, secret=server.secret(tmp_path / "secret"))
    arguments = ("a", b"1") if operation in {"put", "create"} else ("a",)
    with pytest.raises(UserError) as caught:
        list(iter_paths(store)) if operation == "pages" else getattr(store, operation)(*arguments)
    assert (caught.value.reason, bucket in caught.value.message) == ("StorageNotFound", True)
    assert "\n" not in caught.value.message


PASSING = [
    Fault(kind="status", value=503),
    Fault(kind="lost-answer"),
    Fault(kind="cut-answer", value=300),
]
MORE_PASSING = [
    Fault(kind="delay", value=0.2),
    Fault(kind="status", value=500),
    Fault(kind="status", value=429),
    Fault(kind="reset"),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind} {fault.value:g}")
def test_passing_faults_are_retried(faulty: Storage, faults: FaultProxy, fault: Fault) -> None:
    check_is_retried(faulty, faults, fault)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", MORE_PASSING, ids=lambda fault: f"{fault.kind} {fault.value:g}")
def test_more_passing_faults_are_retried(faulty: Storage, faults: FaultProxy, fault: Fault) -> None:
    check_is_retried(faulty, faults, fault)


def check_is_retried(faulty: Storage, faults: FaultProxy, fault: Fault) -> None:
    data = bytes(range(256)) * 64
    faults.script(fault, fault, match=" /")
    faulty.put("a", data)
    faults.script(fault, fault, match="GET")
    assert faulty.read("a") == data
    faults.script(fault, fault, match="GET")
    assert faulty.read_range("a", 1000, 2000) == data[1000:3000]
    faults.script(fault, match="GET")
    assert faulty.list() == ["a"]


def test_lost_answer_of_a_create_leaves_the_object_whole(faulty: Storage, faults: FaultProxy) -> None:
    faulty.exists("first")
    faults.script(Fault(kind="lost-answer"), match="RENAME" if faulty.url.startswith("webhdfs") else "")
    created = faulty.create("a", b"mine")
    assert not created, "the second try met the object of the first"
    assert faulty.read("a") == b"mine"


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_store_that_stays_away_is_infrastructure(faulty: Storage, faults: FaultProxy, kind: str) -> None:
    faults.decide = lambda _line: Fault(kind=kind, value=503)  # type: ignore[arg-type]
    for operation in (lambda: faulty.read("a"), lambda: faulty.create("a", b"1"), faulty.list):
        with pytest.raises(InfrastructureError) as caught:
            operation()
        assert caught.value.reason == "StorageUnavailable"
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_names_the_keys(
    faulty: Storage, faults: FaultProxy, server: StoreServer, status: int
) -> None:
    faults.decide = lambda _line: Fault(kind="status", value=status)
    for operation in (lambda: faulty.read("a"), lambda: faulty.put("a", b"1"), faulty.list):
        with pytest.raises(UserError, match="access denied") as caught:
            operation()
        assert caught.value.reason == "StorageDenied"
        assert any(name in caught.value.message for name in STORE_KEYS)


def test_no_redirect_is_followed(faulty: Storage, faults: FaultProxy) -> None:
    faults.decide = lambda _line: Fault(kind="status", value=307)
    for operation in (lambda: faulty.read("a"), lambda: faulty.put("a", b"1"), faulty.list):
        with pytest.raises(UserError, match="redirects") as caught:
            operation()
        assert caught.value.reason == "StorageRefused"
