"""Restart a process that was started without the pins that Python and the C library read only at start.

The process replaces itself once with the same program, arguments, open files and working folder.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from seedbed.environment.environment_pins import (
    CPU_CLASS_VARIABLE,
    HASH_SEED_VARIABLE,
    THREADS_VARIABLE,
    pin_environment,
    require_supported,
    start_pins,
)
from seedbed_api.errors import UserError, refusal

logger = logging.getLogger(__name__)

_RESTARTED_VARIABLE = "SEEDBED_BEGUN_ANEW"
"""Process id of a restarted process, so that it is not restarted again."""
_NOT_RESTARTABLE = "is not set, and the process cannot be restarted"
_OPTIONS_REPLACED = {"R": "", "E": "", "I": "Ps"}
"""Options that make Python ignore its variables; the other effects of -I are preserved."""


_is_command: list[bool] = []
"""[True] if this process runs the command and so may restart itself."""


def restart_if_unpinned() -> None:
    """Restart this process with all pins, unless it was started with them.

    Call it before anything is read or started. Raises UserError if Python cannot find its program again,
    or if a pin has no effect.
    """
    restarted = os.environ.pop(_RESTARTED_VARIABLE, None) == str(os.getpid())
    missing = unpinned(os.environ)
    if missing is not None:
        _restart(missing, restarted=restarted)
    _is_command[:] = [True]
    with suppress(UserError):  # the next pin_environment raises it again
        pin_environment(os.environ)  # before anything imports numpy, which reads its pin then


def restart_as_cpu_class(cpu_class: str, *, threads: int) -> None:
    """Pin this process to a CPU class and number of threads; the command restarts if its class differs.

    Imported libraries have already read the pins of the present class. Raises UserError as `pin_environment`.
    """
    if _is_command and os.environ.get(CPU_CLASS_VARIABLE) != cpu_class:
        require_supported(cpu_class)
        os.environ |= {CPU_CLASS_VARIABLE: cpu_class, THREADS_VARIABLE: str(threads)}
        pin_environment(os.environ)
        _restart(CPU_CLASS_VARIABLE, restarted=False)
    pin_environment(os.environ, cpu_class=cpu_class, threads=threads)


def _restart(missing: str, *, restarted: bool) -> None:
    """Replace this process with a new one; raise UserError if that is impossible."""
    command = restart_command(sys.executable, sys.orig_argv[1:])
    if restarted or command is None:
        problem = "does not reach this process" if restarted else _NOT_RESTARTABLE
        raise _refused(missing, problem)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # the stream may be None or closed
            stream.flush()
    try:
        os.execve(command[0], command, restart_environment(os.environ))
    except OSError as error:
        raise _refused(missing, f"{_NOT_RESTARTABLE}: {error.strerror}") from error


def warn_about_hash_order(entrypoint: str) -> None:
    """Log a warning for user code in a Python with random hashes: the order of sets is not fixed."""
    if sys.flags.hash_randomization:
        fix = f"start Python with {HASH_SEED_VARIABLE}=0"
        logger.warning("%s: the model may depend on the order of a set; %s", entrypoint, fix)


def unpinned(environ: Mapping[str, str]) -> str | None:
    """Return the first variable whose pin was missing at the start of this process; None if all were set."""
    if sys.flags.hash_randomization:
        return HASH_SEED_VARIABLE
    pins = start_pins(environ)
    return next((name for name, wanted in pins.items() if environ.get(name) != wanted), None)


def restart_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the restarted process, without the variables that Python was to ignore."""
    ignored = sys.flags.ignore_environment
    remaining = {k: v for k, v in environ.items() if not (ignored and k.startswith("PYTHON"))}
    for name, wanted in start_pins(environ).items():
        remaining.pop(name, None)
        if wanted is not None:
            remaining[name] = wanted
    return remaining | {_RESTARTED_VARIABLE: str(os.getpid())}


def restart_command(executable: str, arguments: Sequence[str]) -> list[str] | None:
    """Return the command that runs the same program, given all arguments after `python`.

    None if the program cannot be read again: a prompt, standard input, a pipe.
    """
    options, left = [executable], list(arguments)
    while left and left[0].startswith("-") and left[0] not in {"-", "--"}:
        argument = left.pop(0)
        if argument.startswith("--"):  # only --check-hash-based-pycs MODE runs a program
            options += [argument, *left[:1]]
            del left[:1]
            continue
        flags, rest = re.fullmatch(r"-([^cmWX]*)(.*)", argument, re.DOTALL).groups()  # type: ignore[union-attr]
        new_flags = "".join(_OPTIONS_REPLACED.get(flag, flag) for flag in flags)
        options += [f"-{new_flags}{rest}"] if new_flags or rest else []
        if len(rest) == 1:  # the value is the next argument
            options += left[:1]
            del left[:1]
        if rest[:1] in {"c", "m"}:
            return [*options, *left]
    script = Path(*left[left[:1] == ["--"] :][:1])
    readable = (
        bool(executable) and left[:1] != ["-"] and (script.is_file() or (script / "__main__.py").is_file())
    )
    return [*options, *left] if left and readable else None


def _refused(variable: str, problem: str) -> UserError:
    wanted = (start_pins(os.environ) | {CPU_CLASS_VARIABLE: os.environ.get(CPU_CLASS_VARIABLE)})[variable]
    setting = f"without {variable}" if wanted is None else f"with {variable}={wanted}"
    line = refusal(variable, os.environ.get(variable), problem, f"start the process {setting}")
    return UserError("EnvironmentChanged", line)
