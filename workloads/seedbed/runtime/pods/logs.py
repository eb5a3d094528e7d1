"""The log of a pod in the output store: `logs/<job uid>/<attempt>/<pod>/<seq>.log`, pieces of one size.

The last piece grows until it is full. No trouble with it ever ends a run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed.runtime.pods.settings import PodSettings
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import SeedbedError

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 16
SHIP_SECONDS = 5.0


def log_folder(settings: PodSettings) -> Storage:
    """Return where the log of a pod is kept."""
    path = f"logs/{settings.uid}/{settings.attempt}/{settings.pod_name}"
    return open_storage(settings.job.spec.output.uri, secret=settings.secret("output")).child(path)


def ship(spool: Path, folder: Storage, *, shipped: int = 0) -> int:
    """Store what was spooled after `shipped` bytes; return how many bytes are stored now."""
    with spool.open("rb") as file:
        while True:
            piece = shipped // PIECE_BYTES
            file.seek(piece * PIECE_BYTES)
            data = file.read(PIECE_BYTES)
            if piece * PIECE_BYTES + len(data) <= shipped:
                return shipped
            folder.put(f"{piece:06d}.log", data)
            shipped = piece * PIECE_BYTES + len(data)


@contextmanager
def shipping(spool: Path, settings: PodSettings) -> Iterator[None]:
    """Keep the log of this pod in the output store meanwhile, and all of it in the end."""
    shipper = _Shipper(spool, settings)
    over = threading.Event()

    def follow() -> None:
        while not over.wait(SHIP_SECONDS):
            shipper.ship()

    thread = threading.Thread(target=follow, name="seedbed-logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2 * SHIP_SECONDS)
        if not thread.is_alive():
            shipper.ship()


class _Shipper:
    """Ships one spool; tells of trouble once."""

    def __init__(self, spool: Path, settings: PodSettings) -> None:
        self._spool, self._settings = spool, settings
        self._shipped, self._told = 0, False

    def ship(self) -> None:
        """Store what is new."""
        try:
            self._shipped = ship(self._spool, log_folder(self._settings), shipped=self._shipped)
        except (SeedbedError, OSError) as error:
            if not self._told:
                logger.warning("the log of this pod is not stored at present: %s", error)
            self._told = True
