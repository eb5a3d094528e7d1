"""No object of a store takes more memory than its kind may: an oversized one of each kind, in a local folder."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path

import pytest

from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.reader import open_dataset
from seedbed.runs.owner_records import Owner, read_owner
from seedbed.runs.run_folder import open_run
from seedbed.storage import ObjectLimit, OversizedObject, holds, open_storage
from seedbed.storage.object_limits import CODE_FILE, DOCUMENT, OWNER_RECORD, TENSORS, WHEEL
from seedbed.storage.secret_folder import read_secret
from seedbed.usercode.code_source import fetch_code
from seedbed_api.errors import UserError
from support.datasets.small_datasets import a_dataset
from support.servers.endless_server import endless_server
from support.storage.oversized_objects import DIGITS, KINDS, check_is_refused

SMALL = ObjectLimit(kind="a small object", most_bytes=1_000)


def plant(file: Path, size: int) -> None:
    """Write a file of so many bytes that takes no room."""
    file.parent.mkdir(parents=True)
    with file.open("wb") as hole:
        hole.truncate(size)


@pytest.mark.parametrize("kind", KINDS)
def test_one_byte_too_many_is_refused_by_name_before_it_is_read(kind: str, tmp_path: Path) -> None:
    plant(tmp_path / "store" / KINDS[kind].path, KINDS[kind].limit.most_bytes + 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check_is_refused(kind, open_storage(str(tmp_path / "store")))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024, "KiB"


@pytest.mark.parametrize("url", ["{}", "local://{}", "memory://bounds{}"])
def test_a_limit_is_exact(url: str, tmp_path: Path) -> None:
    store = open_storage(url.format(tmp_path / "store"))
    for size in (0, 1, 999, 1_000):
        (tmp_path / "store").mkdir(exist_ok=True)
        (tmp_path / "store/a").write_bytes(bytes(size))
        if url.startswith("memory"):
            store.put("a", bytes(size))
        assert store.read("a", SMALL) == bytes(size)
    (tmp_path / "store/a").write_bytes(bytes(1_001))
    if url.startswith("memory"):
        store.put("a", bytes(1_001))
    with pytest.raises(OversizedObject, match=r"has 1,001 bytes, a small object has at most 1,000"):
        store.read("a", SMALL)


def test_a_small_object_takes_the_memory_of_its_size_whatever_its_kind_may_have(tmp_path: Path) -> None:
    """A read of n bytes takes n bytes before it reads one: 32 GiB are refused on many machines."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/a").write_bytes(bytes(3_000_000))
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), before[1]))
    try:
        data = open_storage(str(tmp_path / "store")).read("a", TENSORS)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert data == bytes(3_000_000)


def test_what_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """As files of /proc and of FUSE do, which tell no size."""
    with pytest.raises(OversizedObject, match="a tiny object has at most 4"):
        open_storage("/proc/self").read("status", ObjectLimit(kind="a tiny object", most_bytes=4))


def test_the_error_of_a_worker_arrives_whole() -> None:
    error = pickle.loads(pickle.dumps(OversizedObject("s3://a/b", 5, SMALL)))
    assert (error.reason, str(error)) == (
        "ObjectTooLarge",
        "it has 5 bytes, a small object has at most 1,000",
    )
    assert error.message.startswith("uri: has 5 bytes, ")


@pytest.mark.parametrize("path", ["sized", "chunked"])
def test_an_http_server_that_never_ends_is_left_after_the_limit(path: str) -> None:
    limit = ObjectLimit(kind="an object", most_bytes=4 << 20)
    with endless_server() as server:
        store = open_storage(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(OversizedObject, match="an object has at most 4,194,304"):
            store.read(path, limit)
        with pytest.raises(UserError, match="the server ignores Range requests"):
            store.read_range(path, 0, 1_000)
        assert server.sent < 2_000, "64 KiB each: what sockets hold comes on top"


def test_an_owner_record_of_any_size_is_one_that_vouches_for_nothing(tmp_path: Path) -> None:
    owner = Owner(key=b"k" * 32)
    folder = open_run(open_storage(str(tmp_path)), f"sha256:{DIGITS}", owner=owner)
    folder.vouch("result", "sha256:1")
    (record,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert folder.vouched("result") == "sha256:1"
    os.truncate(record, OWNER_RECORD.most_bytes + 1)
    assert folder.vouched("result") is None


def test_an_object_of_any_size_in_the_place_of_ours_is_replaced(tmp_path: Path) -> None:
    folder = open_run(open_storage(str(tmp_path)), f"sha256:{DIGITS}")
    plant(tmp_path / f"runs/{DIGITS}/outcome.json", DOCUMENT.most_bytes + 1)
    folder.publish("outcome.json", b"ours", valid=lambda _theirs: True)
    assert folder.objects.read("outcome.json") == b"ours"
    assert holds(folder.objects, "outcome.json", b"ours")
    assert not holds(folder.objects, "outcome.json", b"our")
    os.truncate(tmp_path / f"runs/{DIGITS}/outcome.json", 1 << 40)
    folder.set_aside("outcome.json")
    assert not folder.objects.list()


@pytest.mark.parametrize("what", ["shard", "index"])
def test_a_shard_and_its_index_have_the_bytes_that_their_manifest_says(what: str, tmp_path: Path) -> None:
    a_dataset(tmp_path / "data")
    dataset = open_dataset(open_storage(str(tmp_path / "data")))
    shard = dataset.manifest.shards[0]
    os.truncate(tmp_path / "data" / (shard.path if what == "shard" else shard.index_path), 1 << 40)
    problems = [*check_dataset(open_dataset(open_storage(str(tmp_path / "data"))))]
    assert any("has 1099511627776 bytes" in problem.replace(",", "") for problem in problems), problems


@pytest.mark.parametrize(("name", "limit"), [("net.whl", WHEEL), ("net/model.py", CODE_FILE)])
def test_code_of_any_size_is_refused_by_name(name: str, limit: ObjectLimit, tmp_path: Path) -> None:
    plant(tmp_path / "code" / name, limit.most_bytes + 1)
    place = tmp_path / "code" / ("net.whl" if name == "net.whl" else "")
    with pytest.raises(UserError) as refused:
        fetch_code(str(place))
    assert f"has {limit.most_bytes + 1:,} bytes, {limit.kind} has at most" in refused.value.message
    assert name in refused.value.message


def test_keys_and_secrets_of_any_size_are_refused_by_name(tmp_path: Path) -> None:
    plant(tmp_path / "key/owner.key", 1 << 40)
    with pytest.raises(UserError, match=r"more than 65,536 bytes.*owner\.key"):
        read_owner(tmp_path / "key/owner.key")
    plant(tmp_path / "secret/AWS_ACCESS_KEY_ID", 1 << 40)
    with pytest.raises(UserError, match=r"more than 65,536 bytes.*AWS_ACCESS_KEY_ID"):
        read_secret(tmp_path / "secret")
