"""Environment variables and temporary folder of a local Ray, without those of other Rays and process groups.

Variables are set before Ray is imported; daemons and workers inherit them.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shlex
import stat
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from functools import cache
from typing import Any

from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal

NODE_LABEL = "ray.io/node-id"
"""Label of each node with its id, set by Ray."""

_FOREIGN = re.compile(
    r"(RAY|GLOO|TUNE|TORCHELASTIC)_.*|TORCH_(GLOO|DISTRIBUTED|FR)_.*"
    r"|MASTER_(ADDR|PORT)|((LOCAL|GROUP|ROLE|NODE)_)?(RANK|WORLD_SIZE)|NCCL_COMM_ID"
)
"""Addresses, hooks, ranks and settings of other Rays, process groups and torchrun.

With NCCL_COMM_ID every group of NCCL would have the same well-known number instead of a random one.
"""
_NUMBERS = {
    "RAY_memory_monitor_refresh_ms": (r"[0-9]{1,9}", "a number of milliseconds, or 0 for never"),
    "RAY_memory_usage_threshold": (r"0(\.[0-9]+)?|1(\.0+)?", "a share from 0 to 1"),
}
"""Settings that Ray's documentation recommends on machines with little memory."""
_FOLDERS = ("RAY_TMPDIR", "TMPDIR")
_COMMON_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_LONGEST_SOCKET = 107
_LONGEST_SUBPATH = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
"""Longest path of a socket below the folder of Ray."""
_PROBE_BYTES = 1 << 20
_TOKEN_BYTES = 32


@cache
def token_settings() -> dict[str, str]:
    """Return the variables of a Ray that this process starts: it takes calls from nobody without the token.

    Only this process and those that it starts know the token. Ray reads it once in a process.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_urlsafe(_TOKEN_BYTES)}


def clean_environment(
    environ: MutableMapping[str, str], settings: Mapping[str, str], *, preserved: str = r"(?!)"
) -> None:
    """Remove variables of other Rays and process groups from an environment, and set those of our Ray.

    Variables that match `preserved` are not removed. Raises UserError for an invalid limit of memory.
    """
    for name in [each for each in environ if _FOREIGN.fullmatch(each) and not re.fullmatch(preserved, each)]:
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
    """Return the folder for sockets and logs of Ray: the first with a short enough path and free space.

    RAY_TMPDIR and TMPDIR are tried first. Raises UserError with the tried folders, or InfrastructureError if
    only space is missing.
    """
    named = [(name, environ[name]) for name in _FOLDERS if environ.get(name)]
    errors: list[OSError] = []
    for _, folder in [*named, *(("", each) for each in _COMMON_FOLDERS)]:
        try:
            return _usable(folder)
        except OSError as error:
            errors.append(error)
    raise _no_folder(named[0] if named else ("TMPDIR", ""), errors)


def _usable(folder: str) -> str:
    """Return the folder of Ray below another one. Raises OSError with its name if it is unusable.

    Ray opens its folders to everybody, who could then replace its sockets. So they lie in a folder that other
    users cannot enter.
    """
    private = os.path.join(os.path.abspath(folder), _private_name())
    own = os.path.join(private, "ray")
    if len(os.fsencode(own + _LONGEST_SUBPATH)) > _LONGEST_SOCKET:
        raise OSError(errno.ENAMETOOLONG, f"longer than {longest_folder()} bytes", folder)
    try:
        _make_private(private)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from error
    return own


def longest_folder() -> int:
    """Return the length in bytes of the longest path of a folder that can hold the sockets of Ray."""
    return _LONGEST_SOCKET - len(f"/{_private_name()}/ray{_LONGEST_SUBPATH}")


def _private_name() -> str:
    return f"ray-{os.geteuid()}"


def _make_private(folder: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(errno.EPERM, f"{folder} is not a folder of this user")
    os.chmod(folder, 0o700)


def _no_folder(first: tuple[str, str], errors: list[OSError]) -> SeedbedError:
    tried = "; ".join(f"{error.filename}: {(error.strerror or str(error)).lower()}" for error in errors)
    problem = f"no folder can hold the sockets and logs of Ray ({tried})"
    fix = f"set TMPDIR to a folder of at most {longest_folder()} bytes that can be written and has room"
    line = refusal(*first, problem, fix)
    temporary = any(error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) for error in errors)
    return InfrastructureError("RayStartFailed", line) if temporary else UserError("InvalidOption", line)


def is_ray_running() -> bool:
    """Return whether this process has started or joined a Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def worker_python(executable: str) -> dict[str, str] | None:
    """Return the runtime environment in which workers find Python where its path has a space or the like.

    Ray starts a worker that has an environment of its own by a line for the shell, with the path as it is.
    """
    quoted = shlex.quote(executable)
    return None if quoted == executable else {"py_executable": quoted}


def job_config() -> Any:
    """Return a Ray job whose workers do not import modules from the driver's working folder."""
    from ray.job_config import JobConfig

    class Job(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            return True  # so Ray adds no folders of the driver to the import path of workers

    return Job(runtime_env=worker_python(sys.executable))
