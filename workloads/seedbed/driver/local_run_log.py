"""The log of a run or sweep on one machine, stored in the output store where a driver pod stores its log.

It holds notices and log lines of the driver, output of Ray's workers, and output of code in this process. The
terminal output does not change, and an error of the log does not fail a run.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO, cast

from seedbed.driver.progress_display import CombinedDisplay, ProgressDisplay, ProgressSink
from seedbed.logs.json_log import JsonLineEncoder, JsonLogFormatter
from seedbed.logs.log_truncation import LogTruncator
from seedbed.logs.log_upload import LogUploader, log_pieces_folder, upload_periodically
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.ray_cluster.local_ray import workers_logger
from seedbed.runs.process_identity import this_process
from seedbed.storage import Storage, open_output
from seedbed_api.errors import SeedbedError
from seedbed_api.pod_contract.paths import job_logs_path, log_piece_name

if TYPE_CHECKING:
    from seedbed.driver.mlflow_run_entry import SweepMembership
    from seedbed.driver.resolve_run import ResolvedRun

_OURS = logging.getLogger("seedbed")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLocation:
    """Where a log lies: `logs/<uid>/<attempt>/<job>-<attempt>-driver/`, as that of a driver pod."""

    output: Storage
    uid: str
    """Hex digits of the identity of a run or sweep."""
    job: str
    attempt: int
    """No two processes have the same: who claimed a run, or created the first piece of this log."""

    @property
    def folder(self) -> Storage:
        """Return the storage of its pieces."""
        pod = f"{self.job}-{self.attempt}-driver"
        return log_pieces_folder(self.output, uid=self.uid, attempt=self.attempt, pod=pod)


def log_location(run: ResolvedRun, member: SweepMembership | None, *, attempt: int) -> LogLocation | None:
    """Return where the log of a run is stored; None without `keep_log`. Trials have names of their own."""
    if not run.options.keep_log:
        return None
    trial = "" if member is None else f"-trial-{member.trial}"
    fold = "" if member is None or member.fold is None else f"-fold-{member.fold}"
    return LogLocation(
        output=run.folder.output if run.output_folder else _plain_output(run),
        uid=run.folder.name,
        job=f"{run.job.metadata.name}{trial}{fold}",
        attempt=attempt,
    )


def _plain_output(run: ResolvedRun) -> Storage:
    """Return the output store without the retries of a training: a log may be lost."""
    return open_output(run.job.spec.output.uri, secret=run.options.output_secret)


@contextmanager
def record_run_log(place: LogLocation | None, display: ProgressSink) -> Iterator[ProgressSink]:
    """Record the log of a run while the block runs, if it has a location; yield the display to use."""
    if place is None:
        yield display
        return
    with record_log(place, display.notice) as log:
        yield CombinedDisplay(
            display, ProgressDisplay(place.job, stream=log, interactive=False, records=True)
        )


@contextmanager
def record_log(place: LogLocation, notice: Callable[[str], None]) -> Iterator[TextIO]:
    """Record a log while the block runs and store all of it at the end; yield a stream for the driver.

    `notice` gets a line where nothing else failed and the log could not be stored.
    """
    host = this_process()
    spool = _LogBuffer({"job": place.job, "attempt": place.attempt, "host": host.host})
    uploader = LogUploader(read=spool.read, folder=lambda: place.folder)
    with upload_periodically(uploader.upload), closing(spool), _capture_output(spool) as voice:
        voice.write(f"attempt {place.attempt} begins: process {host.pid} on {host.host}\n")
        try:
            yield cast(TextIO, voice)
        except StopRequested:
            voice.write("stop requested\n")
            raise
        except SeedbedError as error:
            voice.write(f"error: {error.reason}: {error.message}\n")
            raise
        except Exception:
            voice.write(traceback.format_exc())
            raise
        finally:
            voice.write(f"attempt {place.attempt} ends\n")
    if uploader.error is not None:
        notice(f"the log of this run is not stored: {uploader.error}")


@contextmanager
def _capture_output(spool: _LogBuffer) -> Iterator[_RecordStream]:
    """Copy what this process logs and prints into the buffer; yield one more stream."""
    with ExitStack() as stack:
        own, out, err, logs = (stack.enter_context(_RecordStream(spool)) for _ in range(4))
        stack.enter_context(_logging_to(logs))
        stack.enter_context(redirect_stdout(cast(TextIO, _Tee(sys.stdout, out))))
        stack.enter_context(redirect_stderr(cast(TextIO, _Tee(sys.stderr, err))))
        yield own


@contextmanager
def _logging_to(log: _RecordStream) -> Iterator[None]:
    """Log there too what is logged of ours, and what Ray's workers print."""
    handlers = [_handler(log, JsonLogFormatter(), logging.DEBUG)]
    if not _OURS.hasHandlers():  # then the terminal shows warnings as they are, which a handler would end
        handlers.append(_handler(sys.stderr, logging.Formatter(), logging.WARNING))
    for handler in handlers:
        _OURS.addHandler(handler)
    level = workers_logger.level
    workers_logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        workers_logger.setLevel(level)
        for handler in handlers:
            _OURS.removeHandler(handler)


def _handler(stream: Any, formatter: logging.Formatter, level: int) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.setLevel(level)
    return handler


@dataclass(slots=True)
class _LogBuffer:
    """The records of a log in memory, up to its limit; safe for threads. Close it after the last writer."""

    context: dict[str, Any]
    """Fields of each record, the newest step among them."""
    _data: bytearray = field(default_factory=bytearray)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _trim: LogTruncator = field(init=False)

    def __post_init__(self) -> None:
        self._trim = LogTruncator(note=JsonLineEncoder(context=self.context).note)

    def add(self, records: bytes) -> None:
        with self._lock:
            self._data += self._trim.take(records)

    def close(self) -> None:
        """Take the end of what was too long."""
        with self._lock:
            self._data += self._trim.rest()

    def read(self, start: int, length: int) -> bytes:
        with self._lock:
            return bytes(self._data[start : start + length])


class _RecordStream:
    """A stream for one writer, so that lines of several never mix; its lines become records."""

    def __init__(self, spool: _LogBuffer) -> None:
        self._spool, self._recorder = spool, JsonLineEncoder(context=spool.context)
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            self._spool.add(self._recorder.take(text.encode(errors="replace")))
        return len(text)

    def flush(self) -> None:
        """Do nothing: whole lines are passed on at once."""

    def __enter__(self) -> _RecordStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.add(self._recorder.last())


class _Tee:
    """Standard output or error that is copied; otherwise the stream itself."""

    def __init__(self, stream: TextIO, listener: _RecordStream) -> None:
        self._stream, self._listener = stream, listener

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._listener.write(text)
        return written

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def claim_log_location(output: Storage, *, uid: str, job: str) -> LogLocation:
    """Claim the next free location of a log by creating its first piece: two processes never share one."""
    taken = (path.partition("/")[0] for path in output.child(job_logs_path(uid)).list())
    number = max((int(name) for name in taken if name.isdecimal()), default=0)
    while True:
        number += 1
        place = LogLocation(output=output, uid=uid, job=job, attempt=number)
        if place.folder.create(log_piece_name(0), b""):
            return place
