"""The first process of a container: it reaps, passes signals on, writes the log, and kills what is left.

The program itself runs in a child, so that its end, however sudden, is seen and reported. As a plain process
it adopts orphans like PID 1 and kills them when it ends.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from seedbed.logs.json_log import JsonLineEncoder, JsonLogFormatter
from seedbed.logs.log_truncation import LogTruncator
from seedbed_api.conditions import ExitCode
from seedbed_api.pod_contract import env_vars

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLEANING_SECONDS = 5.0
_PIPE_BYTES = 1 << 16

OnExit = Callable[[int, Path], None]
"""Called with the signal that ended the program, 0 where none did, and the spool of its log.

A program that did what it should, and whose log is not too long, has stored all of it: then it is not called.
"""


def supervise(ended: OnExit, encoder: JsonLineEncoder) -> Path:
    """Fork; return the spool of the log in the child, which is to run the program.

    Never returns in the parent, which ends with the child's exit code, 128 + n for signal n.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    handle, name = tempfile.mkstemp(prefix="seedbed-log-")
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.close(handle)
        _set_up_child(writing, parent)
        return Path(name)
    os.close(writing)
    code = _run_parent(child, reading, handle, spool=Path(name), ended=ended, encoder=encoder)
    Path(name).unlink(missing_ok=True)
    os._exit(code)


def exit_now(code: int) -> NoReturn:
    """End the program at once: what hangs in a thread or a library must not keep the pod."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _set_up_child(writing: int, parent: int) -> None:
    """Die with the parent, hear signals from nobody else, and speak into the pipe."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    for stream in (1, 2):
        os.dup2(writing, stream)
    os.close(writing)


def _run_parent(
    child: int, reading: int, handle: int, *, spool: Path, ended: OnExit, encoder: JsonLineEncoder
) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: _signal_process(child, n))
    trim = LogTruncator(note=encoder.note, elsewhere="; kubectl logs has all of it")
    copying = (reading, handle, encoder, trim)
    copier = threading.Thread(target=_copy_output, args=copying, name="seedbed-log", daemon=True)
    copier.start()
    code = os.waitstatus_to_exitcode(_wait_for_child(child))
    kill_children()
    copier.join(timeout=_CLEANING_SECONDS)
    if code not in (ExitCode.DONE, ExitCode.STOPPED) or trim.shortened:
        ended(max(0, -code), spool)
    return code if code >= 0 else 128 - code


def _wait_for_child(child: int) -> int:
    """Reap whoever ends until the child does; return its status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def kill_children() -> None:
    """Kill and reap all children of this process, and what they leave to it."""
    deadline = time.monotonic() + _CLEANING_SECONDS
    while time.monotonic() < deadline:
        for pid in _children():
            _signal_process(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def _children() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                found.append(int(entry.name))
    return found


def _signal_process(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _copy_output(reading: int, handle: int, encoder: JsonLineEncoder, trim: LogTruncator) -> None:
    """Pass on what the program says, and spool it line by line, of a long log the beginning."""
    while True:
        said = os.read(reading, _PIPE_BYTES)
        data = encoder.take(said) if said else encoder.last()
        _write_all(1, data)
        _write_all(handle, trim.take(data))
        if not said:
            _write_all(handle, trim.rest())
            return


def _write_all(handle: int, data: bytes) -> None:
    """Write all of it; who reads stdout may be gone, and a disk full, and the program goes on."""
    try:
        while data:
            data = data[os.write(handle, data) :]
    except OSError:
        return


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def log_encoder(environ: Mapping[str, str]) -> JsonLineEncoder:
    """Return the recorder of this pod; an environment that is not ours leaves its fields out."""
    try:
        metadata = json.loads(environ.get(env_vars.JOB, ""))["metadata"]
    except (ValueError, KeyError, TypeError):
        metadata = {}
    attempt = environ.get(env_vars.ATTEMPT, "")
    context = {
        "namespace": metadata.get("namespace"),
        "job": metadata.get("name"),
        "attempt": int(attempt) if attempt.isdecimal() else None,
        "pod": environ.get(env_vars.POD_NAME),
    }
    return JsonLineEncoder(context={name: value for name, value in context.items() if value is not None})


def log_as_json_lines() -> None:
    """Send this process's logs to stderr as records; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("seedbed").setLevel(logging.INFO)
