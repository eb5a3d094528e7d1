"""Upload of a log to the output store in pieces of one size, `<seq>.log`; the last one grows until full.

An error of the upload does not fail a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

from seedbed.periodic_thread import PeriodicThread
from seedbed.storage import Storage
from seedbed_api.errors import SeedbedError
from seedbed_api.pod_contract.paths import log_piece_name, pod_log_path

PIECE_BYTES = 1 << 16
UPLOAD_SECONDS = 5.0

Read: TypeAlias = Callable[[int, int], bytes]
"""Returns what a log holds from a byte on, at most so many."""


def spool_reader(spool: Path) -> Read:
    """Return how the log in a file is read."""

    def read(start: int, length: int) -> bytes:
        with spool.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return read


def log_pieces_folder(output: Storage, *, uid: str, attempt: int, pod: str) -> Storage:
    """Return where the pieces of one log lie, as `seedbed.runs.log_store` reads them."""
    return output.child(pod_log_path(uid, attempt, pod))


def stored_bytes(folder: Storage) -> int:
    """Return how many bytes from the beginning are surely stored; the last piece may have grown since."""
    there = set(folder.list())
    gap = next(number for number in count() if log_piece_name(number) not in there)
    return max(gap - 1, 0) * PIECE_BYTES


def upload_new_pieces(read: Read, folder: Storage, *, uploaded: int = 0) -> int:
    """Store what came after `uploaded` bytes; return how many bytes are stored now."""
    while True:
        piece = uploaded // PIECE_BYTES
        data = read(piece * PIECE_BYTES, PIECE_BYTES)
        if piece * PIECE_BYTES + len(data) <= uploaded:
            return uploaded
        folder.put(log_piece_name(piece), data)
        uploaded = piece * PIECE_BYTES + len(data)


@dataclass(kw_only=True, slots=True)
class LogUploader:
    """Uploads one log; a store that fails is tried again at the next call."""

    read: Read
    folder: Callable[[], Storage]
    uploaded: int = 0
    error: Exception | None = None
    """Why the newest is not stored; None where it is."""

    def upload(self) -> None:
        """Store what is new."""
        try:
            self.uploaded = upload_new_pieces(self.read, self.folder(), uploaded=self.uploaded)
            self.error = None
        except (SeedbedError, OSError) as failure:
            self.error = failure


@contextmanager
def upload_periodically(upload: Callable[[], None]) -> Iterator[None]:
    """Upload every few seconds while the block runs, and the rest at its end."""
    thread = PeriodicThread(upload, seconds=UPLOAD_SECONDS, name="seedbed-logs")
    thread.start()
    try:
        yield
    finally:
        if thread.stop(timeout=2 * UPLOAD_SECONDS):
            upload()
