"""The log of a pod in the output store: `logs/<job uid>/<attempt>/<pod>/<seq>.log`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed.logs.log_upload import LogUploader, log_pieces_folder, spool_reader, upload_periodically
from seedbed.pods.pod_settings import PodSettings
from seedbed.storage import Storage, open_output
from seedbed_api.pod_contract import paths

logger = logging.getLogger(__name__)


def log_folder(settings: PodSettings) -> Storage:
    """Return the folder of the log of a pod."""
    output = open_output(settings.job.spec.output.uri, secret=settings.secret(paths.OUTPUT_SECRET))
    return log_pieces_folder(output, uid=settings.uid, attempt=settings.attempt, pod=settings.pod_name)


@contextmanager
def upload_pod_log(spool: Path, settings: PodSettings) -> Iterator[None]:
    """Upload the log of this pod periodically, and the rest at the end."""
    uploader = LogUploader(read=spool_reader(spool), folder=lambda: log_folder(settings))
    reported = False

    def upload() -> None:
        nonlocal reported
        uploader.upload()
        if uploader.error is not None and not reported:
            reported = True
            logger.warning("the log of this pod cannot be uploaded at present: %s", uploader.error)

    with upload_periodically(upload):
        yield
