"""The storage port over a real S3 server: bytes, exclusive creation, refusals, and faults on the way."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from seedbed.storage import ShortRead, Storage, iter_paths, open_storage, remote_storage
from seedbed_api.errors import InfrastructureError, UserError
from support.storage.creation_race import check_only_the_first_creator_wins
from testbed.faults import Fault, FaultProxy
from testbed.gateway import Gateway

pytestmark = pytest.mark.s3


@pytest.fixture
def store(s3: Gateway, tmp_path: Path) -> Storage:
    return open_storage(s3.bucket() + "/runs", secret=s3.secret(tmp_path / "secret"))


@pytest.fixture
def faulty(s3: Gateway, s3_faults: FaultProxy, tmp_path: Path) -> Storage:
    secret = s3.secret(tmp_path / "secret", AWS_ENDPOINT_URL=s3_faults.endpoint)
    return open_storage(s3.bucket() + "/runs", secret=secret)


def test_only_the_first_of_many_creators_wins(store: Storage) -> None:
    check_only_the_first_creator_wins(store, "attempts/1.json")


def test_usual_environment_opens_the_store(s3: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    store = open_storage(s3.bucket())
    store.put("a", b"1")
    assert store.list() == ["a"]


def test_pickled_store_carries_no_credential(store: Storage, s3: Gateway) -> None:
    store.put("a", b"1")
    pickled = pickle.dumps(store)
    assert s3.secret_key.encode() not in pickled
    assert pickle.loads(pickled).read("a") == b"1"


def test_object_over_the_multipart_bound_of_s3fs_is_created_once(store: Storage) -> None:
    data = bytes(110 << 20)
    assert store.create("blobs/big", data)
    assert not store.create("blobs/big", data)
    assert store.size("blobs/big") == len(data)


@pytest.mark.parametrize("operation", ["read", "exists", "size", "list", "pages", "put", "create"])
@pytest.mark.parametrize(
    ("overrides", "bucket", "reason", "names"),
    [
        pytest.param(
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            None,
            "StorageDenied",
            "AWS_SECRET_ACCESS_KEY",
            id="wrong secret key",
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "nobody"}, None, "StorageDenied", "AWS_ACCESS_KEY_ID", id="unknown key id"
        ),
        pytest.param(
            {}, "s3://no-such-bucket", "StorageNotFound", "s3://no-such-bucket", id="missing bucket"
        ),
    ],
)
def test_what_the_store_refuses_is_the_users_to_mend(
    s3: Gateway,
    tmp_path: Path,
    overrides: dict[str, str],
    bucket: str | None,
    reason: str,
    names: str,
    operation: str,
) -> None:
    secret = s3.secret(tmp_path / "secret", **overrides)
    store = open_storage(bucket or s3.bucket(), secret=secret)
    arguments = ("a", b"1") if operation in {"put", "create"} else ("a",)
    with pytest.raises(UserError) as caught:
        list(iter_paths(store)) if operation == "pages" else getattr(store, operation)(*arguments)
    assert caught.value.reason == reason
    assert names in caught.value.message
    assert "\n" not in caught.value.message
    assert s3.secret_key not in caught.value.message


def test_read_beyond_the_end_is_an_error(store: Storage) -> None:
    store.put("a", b"12345")
    assert store.read_range("a", 3, 2) == b"45"
    for start in (3, 5, 100):
        with pytest.raises(ShortRead):
            store.read_range("a", start, 3)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="delay", value=0.2),
        Fault(kind="status", value=500),
        Fault(kind="status", value=503),
        Fault(kind="status", value=429),
        Fault(kind="reset"),
        Fault(kind="lost-answer"),
        Fault(kind="cut-answer", value=300),
    ],
    ids=lambda fault: f"{fault.kind} {fault.value:g}",
)
@pytest.mark.parametrize("times", [1, 2])
def test_passing_faults_are_retried(faulty: Storage, s3_faults: FaultProxy, fault: Fault, times: int) -> None:
    data = bytes(range(256)) * 64
    s3_faults.script(*[fault] * times, match="PUT")
    faulty.put("a", data)
    s3_faults.script(*[fault] * times, match="GET")
    assert faulty.read("a") == data
    s3_faults.script(*[fault] * times, match="GET")
    assert faulty.read_range("a", 1000, 2000) == data[1000:3000]
    assert sum(line.startswith("GET") for line in s3_faults.requests) >= (
        2 if fault.kind == "delay" else 2 + 2 * times
    )


def test_lost_answer_of_a_create_leaves_the_object_whole(faulty: Storage, s3_faults: FaultProxy) -> None:
    s3_faults.script(Fault(kind="lost-answer"), match="PUT")
    created = faulty.create("a", b"mine")
    assert not created, "the second try met the object of the first"
    assert faulty.read("a") == b"mine"


@pytest.mark.parametrize("kind", ["status", "reset"])
def test_store_that_stays_away_is_infrastructure(faulty: Storage, s3_faults: FaultProxy, kind: str) -> None:
    s3_faults.decide = lambda _line: Fault(kind=kind, value=503)  # type: ignore[arg-type]
    with pytest.raises(InfrastructureError) as caught:
        faulty.read("a")
    assert caught.value.reason == "StorageUnavailable"


@pytest.fixture
def listed(store: Storage) -> Storage:
    for name in ("b/2", "a", "b/1", "b.txt", "b/c/3", "ö/ü"):
        store.put(name, name.encode())
    return store


def test_listing_is_sorted_and_of_folders(listed: Storage) -> None:
    assert listed.list() == sorted(["a", "b.txt", "b/1", "b/2", "b/c/3", "ö/ü"])
    assert listed.list("b") == ["b/1", "b/2", "b/c/3"]
    assert listed.child("b").list() == ["1", "2", "c/3"]
    assert listed.list("nothing") == []
    assert listed.read("ö/ü") == "ö/ü".encode()


def test_objects_come_page_by_page(listed: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket may hold more names than memory: no call asks for all of them."""
    monkeypatch.setattr(remote_storage, "KEYS_PER_PAGE", 2)
    assert sorted(iter_paths(listed)) == listed.list()
    assert sorted(iter_paths(listed.child("b"))) == ["1", "2", "c/3"]
    assert list(iter_paths(listed.child("nothing"))) == []


def test_a_page_that_is_lost_is_asked_for_again(
    faulty: Storage, s3_faults: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_storage, "KEYS_PER_PAGE", 2)
    names = [str(number) for number in range(7)]
    for name in names:
        faulty.put(name, b"")
    s3_faults.script(Fault(kind="reset"), Fault(kind="status", value=503), match="GET")
    assert sorted(iter_paths(faulty)) == names
    assert sum("list-type=2" in line for line in s3_faults.requests) >= 6
