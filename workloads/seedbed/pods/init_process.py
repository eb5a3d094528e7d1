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
"""Called with the signal that ended the program (0 for none) and the spool of its log.

It is not called after a program that succeeded and has uploaded its whole log.
"""


def supervise(ended: OnExit, encoder: JsonLineEncoder) -> Path:
    """Fork; return the spool of the log in the child, which then runs the program.

    Never returns in the parent: that exits with the child's exit code, 128 + n after signal n.
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
    """Exit at once: a thread or library that hangs must not keep the pod."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _set_up_child(writing: int, parent: int) -> None:
    """Die with the parent, leave its process group and send output into the pipe."""
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
    """Reap processes until the child ends; return its status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def kill_children() -> None:
    """Kill and reap all children of this process and the orphans it adopted."""
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
    """Copy the output of the program to stdout and to the spool, which truncates a long log.

    Whatever the program writes, its pipe is emptied: a full pipe would stop the training.
    """
    while True:
        output = os.read(reading, _PIPE_BYTES)
        data = _encoded(output, encoder)
        _write_all(1, data)
        _write_all(handle, trim.take(data))
        if not output:
            _write_all(handle, trim.rest())
            return


def _encoded(output: bytes, encoder: JsonLineEncoder) -> bytes:
    """Return the records of what the program wrote, and the last one at its end; as written if that fails."""
    try:
        return encoder.take(output) if output else encoder.last()
    except Exception:  # an error of the encoder must end neither the copying nor the program
        return output


def _write_all(handle: int, data: bytes) -> None:
    """Write all data; the program goes on although nobody reads stdout or the disk is full."""
    try:
        while data:
            data = data[os.write(handle, data) :]
    except OSError:
        return


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def log_encoder(environ: Mapping[str, str]) -> JsonLineEncoder:
    """Return the encoder that adds job, attempt and pod to each line; unknown ones are left out."""
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
    """Send this process's logs to stderr as JSON lines, those of libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("seedbed").setLevel(logging.INFO)
