"""What another user plants in a cache folder: links, FIFOs, second names, locks, a folder of their own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from seedbed.feed import bounded_folder
from seedbed.feed.bounded_folder import BoundedFolder, folder_usage, open_for_writing
from seedbed.feed.decoded_cache import DecodedCache, Slot
from seedbed.feed.private_folder import private_folder
from seedbed.feed.record_batch_cache import BatchCache
from seedbed_api.errors import UserError
from support.storage.folder_contents import contents

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore:.*nothing more is written")]

DATA = b"batch" * 100
NAME = hashlib.sha256(DATA).hexdigest()
SLOT = Slot(file="ab" * 32, place=0, start=0, length=9, shape=(2, 2))
PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "elsewhere"
    for name in (NAME, "ledger", "fetches", SLOT.file, f"{NAME[:2]}/{NAME}", f"{SLOT.file[:2]}/{SLOT.file}"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    before = contents(folder)
    yield folder
    assert contents(folder) == before


def use_batches(folder: Path) -> None:
    cache = BatchCache(folder, bound=1000)
    cache.write(NAME, DATA)
    with cache.fetch_lock(NAME):
        assert cache.read(NAME, 0, len(DATA)) in (DATA, None)
    for number in range(4):  # over the bound: something is evicted
        other = bytes([number]) * 300
        cache.write(hashlib.sha256(other).hexdigest(), other)
    cache.shrink()
    folder_usage(folder)


def use_images(folder: Path) -> None:
    cache = DecodedCache(folder, bound=20_000)
    for _ in range(2):
        found = cache.get_or_decode(SLOT, lambda: PIXELS)
        assert found is not None
        assert np.array_equal(found, PIXELS)
    cache.usage()


USES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "batches": (
        use_batches,
        ("ledger", "fetches", "entries", "aside", f"entries/{NAME[:2]}", f"entries/{NAME[:2]}/{NAME}"),
    ),
    "images": (use_images, ("ledger", SLOT.file[:2], f"{SLOT.file[:2]}/{SLOT.file}")),
}
PLACES = [(kind, place) for kind, (_, places) in USES.items() for place in places]


@pytest.mark.parametrize("planted", ["link", "dangling link", "FIFO", "second name"])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_a_cache_leaves_what_is_planted_in_it_alone_and_waits_for_nothing(
    tmp_path: Path, elsewhere: Path, kind: str, place: str, planted: str
) -> None:
    folder = tmp_path / "cache"
    path = folder / place
    path.parent.mkdir(parents=True)
    is_file = place in ("ledger", "fetches", f"entries/{NAME[:2]}/{NAME}", f"{SLOT.file[:2]}/{SLOT.file}")
    target = elsewhere / (path.name if is_file else "")
    if planted == "FIFO":
        os.mkfifo(path)
    elif planted == "second name" and is_file:
        os.link(target, path)
    else:
        path.symlink_to(elsewhere / "new" if planted == "dangling link" else target)
    USES[kind][0](folder)


def test_a_planted_entry_is_replaced_by_the_true_one(tmp_path: Path, elsewhere: Path) -> None:
    cache = BatchCache(tmp_path / "cache", bound=1000)
    path = cache._path(NAME)
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere / NAME)
    assert cache.read(NAME, 0, 5) is None
    assert cache.write(NAME, DATA)
    assert cache.read(NAME, 0, 5) == DATA[:5]


def test_a_lock_that_is_never_released_is_waited_for_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = BoundedFolder(tmp_path, label="test folder", bound=1000, patterns=("*",))
    held, mine = (open_for_writing(tmp_path / "locks") for _ in range(2))
    assert bounded_folder._try_lock(held, 0)
    began = time.monotonic()
    for _ in range(20):
        assert not folder.lock(mine, 0, seconds=0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert caplog.text.count("no lock is waited for again; `fuser -v` on its files names the process") == 1
    os.close(held)
    assert folder.lock(mine, 0, seconds=0.5)
    os.close(mine)


class TestPrivateFolder:
    """`--cache` names a folder that may be everybody's."""

    def test_a_new_folder_is_mine_alone(self, tmp_path: Path) -> None:
        own = private_folder(tmp_path / "new/cache")
        assert own == tmp_path / "new/cache"
        assert own.stat().st_mode & 0o777 == 0o700
        assert private_folder(own) == own

    @pytest.mark.parametrize("mode", [0o755, 0o775, 0o750, 0o1777], ids=oct)
    def test_in_a_folder_of_others_a_folder_is_mine(self, tmp_path: Path, mode: int) -> None:
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(mode)
        own = private_folder(tmp_path / "shared")
        assert own == tmp_path / f"shared/uid-{os.geteuid()}"
        assert own.stat().st_mode & 0o777 == 0o700
        own.chmod(0o777)
        assert private_folder(tmp_path / "shared").stat().st_mode & 0o777 == 0o700

    def test_a_folder_that_everybody_may_exchange_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        with pytest.raises(UserError, match=r"--cache: lets every user .* replace .*; chmod \+t"):
            private_folder(tmp_path / "open")

    def test_a_link_in_my_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "shared").mkdir(mode=0o755)
        (tmp_path / "mine").mkdir()
        (tmp_path / f"shared/uid-{os.geteuid()}").symlink_to(tmp_path / "mine")
        with pytest.raises(UserError, match="is a symbolic link"):
            private_folder(tmp_path / "shared")

    @pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root may act as another user")
    def test_a_folder_of_another_user_in_my_place_is_refused(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        for above in (*tmp_path.parents[:2], tmp_path):
            above.chmod(above.stat().st_mode | 0o055)
        planting = f"import os; os.setuid(65534); os.mkdir({str(shared / 'uid-0')!r}, 0o777)"
        subprocess.run([sys.executable, "-c", planting], check=True)
        with pytest.raises(UserError, match="belongs to user 65534, not to you"):
            private_folder(shared)

    @pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root may act as another user")
    def test_another_user_neither_reads_nor_plants(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        for above in (*tmp_path.parents[:2], tmp_path):
            above.chmod(above.stat().st_mode | 0o055)
        own = private_folder(shared)
        BatchCache(own, bound=1000).write(NAME, DATA)
        entry = own / f"entries/{NAME[:2]}/{NAME}"
        attack = f"""
import os
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for act in (lambda: open({str(entry)!r}), lambda: os.listdir({str(own)!r}), lambda: os.rmdir({str(own)!r}),
            lambda: os.rename({str(own)!r}, {str(own)!r} + "x"), lambda: os.mkdir({str(own / "x")!r})):
    try:
        act()
    except PermissionError:
        print("denied")
"""
        done = subprocess.run([sys.executable, "-c", attack], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["denied"] * 5
