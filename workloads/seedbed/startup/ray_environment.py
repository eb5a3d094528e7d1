"""Environment of a Ray of our own: remove variables of other Rays and process groups, choose its folder.

Variables are set before Ray is imported; daemons and workers inherit them.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from typing import Any

from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal

NODE_LABEL = "ray.io/node-id"
"""The label that Ray gives each node: its id."""

_FOREIGN = re.compile(
    r"(RAY|GLOO|TUNE|TORCHELASTIC)_.*|TORCH_(GLOO|DISTRIBUTED|FR)_.*"
    r"|MASTER_(ADDR|PORT)|((LOCAL|GROUP|ROLE|NODE)_)?(RANK|WORLD_SIZE)"
)
"""Of Ray, process groups and torchrun: addresses, hooks, ranks, settings that are meant for another use."""
_NUMBERS = {
    "RAY_memory_monitor_refresh_ms": (r"[0-9]{1,9}", "a number of milliseconds, or 0 for never"),
    "RAY_memory_usage_threshold": (r"0(\.[0-9]+)?|1(\.0+)?", "a share from 0 to 1"),
}
"""Ray's documentation recommends these on a machine that is short of memory."""
_FOLDERS = ("RAY_TMPDIR", "TMPDIR")
_COMMON_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_LONGEST_SOCKET = 107
_BELOW = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
"""Where a socket of Ray lies, at most."""
_LONGEST_FOLDER = _LONGEST_SOCKET - len("/ray" + _BELOW)
_PROBE_BYTES = 1 << 20


def clean_environment(
    environ: MutableMapping[str, str], settings: Mapping[str, str], *, kept: str = r"(?!)"
) -> None:
    """Remove what is meant for others from an environment, and set what our Ray needs.

    What matches `kept` stays. Raises UserError for a limit of memory that is none.
    """
    for name in [each for each in environ if _FOREIGN.fullmatch(each) and not re.fullmatch(kept, each)]:
        if name in _NUMBERS:
            _refuse_no_number(name, environ[name])
        elif name not in _FOLDERS:
            del environ[name]
    environ.update(settings)


def _refuse_no_number(name: str, text: str) -> None:
    pattern, what = _NUMBERS[name]
    if not re.fullmatch(pattern, text):
        line = refusal(name, text, f"is not {what}", f"write one, or unset {name}")
        raise UserError("InvalidOption", line)


def temporary_folder(environ: Mapping[str, str]) -> str:
    """Return the folder in which Ray keeps its sockets and logs: the first that is short enough and has room.

    Those that RAY_TMPDIR and TMPDIR name come first. Raises UserError that names what was tried, or
    InfrastructureError where only room is lacking.
    """
    named = [(name, environ[name]) for name in _FOLDERS if environ.get(name)]
    troubles: list[OSError] = []
    for _, folder in [*named, *(("", each) for each in _COMMON_FOLDERS)]:
        try:
            return _usable(folder)
        except OSError as error:
            troubles.append(error)
    raise _nowhere(named[0] if named else ("TMPDIR", ""), troubles)


def _usable(folder: str) -> str:
    """Return where Ray may have its folder below another one; OSError that names it where it cannot."""
    shared = os.path.join(os.path.abspath(folder), "ray")
    theirs = os.path.exists(shared) and os.stat(shared).st_uid != os.geteuid()
    own = f"{shared}-{os.geteuid()}" if theirs else shared
    if len(os.fsencode(own + _BELOW)) > _LONGEST_SOCKET:
        raise OSError(errno.ENAMETOOLONG, f"longer than {_LONGEST_FOLDER} bytes", folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from error
    return own


def _nowhere(first: tuple[str, str], troubles: list[OSError]) -> SeedbedError:
    tried = "; ".join(f"{error.filename}: {(error.strerror or str(error)).lower()}" for error in troubles)
    problem = f"no folder can hold the sockets and logs of Ray ({tried})"
    fix = f"set TMPDIR to a folder of at most {_LONGEST_FOLDER} bytes that can be written and has room"
    line = refusal(*first, problem, fix)
    passing = any(error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) for error in troubles)
    return InfrastructureError("RayStartFailed", line) if passing else UserError("InvalidOption", line)


def is_ray_running() -> bool:
    """Say whether this process has started a Ray, or joined one."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def job_config() -> Any:
    """Return a Ray job whose workers do not look for modules in the driver's working folder."""
    from ray.job_config import JobConfig

    class Job(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            return True  # Ray then adds no folders of the driver to the import path of the workers

    return Job()
