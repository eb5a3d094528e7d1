"""The log of a pod in the output store: `logs/<job uid>/<attempt>/<pod>/<seq>.log`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed.logs.log_upload import Shipper, folder_of, following, reading
from seedbed.pods.pod_settings import PodSettings
from seedbed.storage import Storage, open_storage

logger = logging.getLogger(__name__)


def log_folder(settings: PodSettings) -> Storage:
    """Return where the log of a pod is kept."""
    output = open_storage(settings.job.spec.output.uri, secret=settings.secret("output"))
    return folder_of(output, uid=settings.uid, attempt=settings.attempt, pod=settings.pod_name)


@contextmanager
def shipping(spool: Path, settings: PodSettings) -> Iterator[None]:
    """Keep the log of this pod in the output store meanwhile, and all of it in the end."""
    shipper = Shipper(read=reading(spool), folder=lambda: log_folder(settings))
    told = False

    def ship() -> None:
        nonlocal told
        shipper.ship()
        if shipper.trouble is not None and not told:
            told = True
            logger.warning("the log of this pod is not stored at present: %s", shipper.trouble)

    with following(ship):
        yield
