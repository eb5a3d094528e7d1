"""Log of a sweep on one machine: decided trials and errors. The runs of trials have logs of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from seedbed.driver.local_run_log import LogLocation, record_log
from seedbed.storage import Storage, open_output
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed_api.errors import SeedbedError
from seedbed_api.pod_contract.paths import job_logs_path, log_piece_name


@contextmanager
def record_sweep_log(sweep: ResolvedSweep, display: SweepDisplay) -> Iterator[None]:
    """Store the log of a sweep meanwhile, if it is wanted and the store accepts it."""
    place = _log_location(sweep, display) if sweep.options.keep_log else None
    if place is None:
        yield
        return
    with record_log(place, display.notice) as log, display.copy_to(log):
        yield


def _log_location(sweep: ResolvedSweep, display: SweepDisplay) -> LogLocation | None:
    output = open_output(sweep.spec.output.uri, secret=sweep.options.output_secret)
    uid, job = sweep.identity.removeprefix("sha256:"), sweep.job.metadata.name
    try:
        return claim_log_location(output, uid=uid, job=job)
    except (SeedbedError, OSError) as error:
        display.notice(f"the log of this sweep is not stored: {error}")
        return None


def claim_log_location(output: Storage, *, uid: str, job: str) -> LogLocation:
    """Claim the next free location of a log by creating its first piece: two processes never share one."""
    taken = (path.partition("/")[0] for path in output.child(job_logs_path(uid)).list())
    number = max((int(name) for name in taken if name.isdecimal()), default=0)
    while True:
        number += 1
        place = LogLocation(output=output, uid=uid, job=job, attempt=number)
        if place.folder.create(log_piece_name(0), b""):
            return place
