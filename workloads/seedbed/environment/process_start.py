"""The start of a process that computes: Python and the C library read some variables then and never again.

Where they did not find the pins, the process begins anew: the same program with the same arguments, files and
folder in place of itself, once.
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
"""The process that has begun anew, so that none does so for ever."""
_OPTIONS_REPLACED = {"R": "", "E": "", "I": "Ps"}
"""Options with which Python overlooks its variables; what else -I does stays."""


_is_the_command: list[bool] = []
"""Whether this process may begin anew: it is the command's own."""


def restart_if_unpinned() -> None:
    """Return where this process started with all pins; else begin it anew with them.

    Call it before anything is read or started. Raises UserError where Python cannot find its program again,
    or does not take the pins.
    """
    begun = os.environ.pop(_RESTARTED_VARIABLE, None) == str(os.getpid())
    missing = unpinned(os.environ)
    if missing is not None:
        _restart(missing, begun=begun)
    _is_the_command[:] = [True]
    with suppress(UserError):  # whoever pins next tells it
        pin_environment(os.environ)  # before anything imports numpy, which reads its pin then


def restart_as_cpu_class(cpu_class: str, *, threads: int) -> None:
    """Pin a process as another one was pinned; the command begins anew for another class.

    What it has imported by now has read the pins of its own class. Raises UserError as `pin_environment`.
    """
    if _is_the_command and os.environ.get(CPU_CLASS_VARIABLE) != cpu_class:
        require_supported(cpu_class)
        os.environ |= {CPU_CLASS_VARIABLE: cpu_class, THREADS_VARIABLE: str(threads)}
        pin_environment(os.environ)
        _restart(CPU_CLASS_VARIABLE, begun=False)
    pin_environment(os.environ, cpu_class=cpu_class, threads=threads)


def _restart(missing: str, *, begun: bool) -> None:
    """Replace this process; raise UserError where that cannot be."""
    command = restart_command(sys.executable, sys.orig_argv[1:])
    if begun or command is None:
        problem = "does not reach this process" if begun else "is not set, and the process cannot begin anew"
        raise _refused(missing, problem)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there may be none, or it is closed
            stream.flush()
    try:
        os.execve(command[0], command, restart_environment(os.environ))
    except OSError as error:
        raise _refused(missing, f"is not set, and the process cannot begin anew: {error.strerror}") from error


def warn_about_hash_order(entrypoint: str) -> None:
    """Warn who builds a model of user code in a Python that was started without the pin."""
    if sys.flags.hash_randomization:
        fix = f"start Python with {HASH_SEED_VARIABLE}=0"
        logger.warning("%s: what it builds may depend on the order of a set; %s", entrypoint, fix)


def unpinned(environ: Mapping[str, str]) -> str | None:
    """Return a variable that this process started without the pin of; None where it has all of them."""
    if sys.flags.hash_randomization:
        return HASH_SEED_VARIABLE
    pins = start_pins(environ)
    return next((name for name, wanted in pins.items() if environ.get(name) != wanted), None)


def restart_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment to begin anew with; what Python was told to overlook is left out."""
    overlooked = sys.flags.ignore_environment
    kept = {k: v for k, v in environ.items() if not (overlooked and k.startswith("PYTHON"))}
    for name, wanted in start_pins(environ).items():
        kept.pop(name, None)
        if wanted is not None:
            kept[name] = wanted
    return kept | {_RESTARTED_VARIABLE: str(os.getpid())}


def restart_command(executable: str, words: Sequence[str]) -> list[str] | None:
    """Return the command that runs the same program, given all words after `python`.

    None where there is no program that could be read again: a prompt, standard input, a pipe.
    """
    options, left = [executable], list(words)
    while left and left[0].startswith("-") and left[0] not in {"-", "--"}:
        word = left.pop(0)
        if word.startswith("--"):  # of the long ones, only --check-hash-based-pycs MODE runs a program
            options += [word, *left[:1]]
            del left[:1]
            continue
        flags, rest = re.fullmatch(r"-([^cmWX]*)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
        kept = "".join(_OPTIONS_REPLACED.get(flag, flag) for flag in flags)
        options += [f"-{kept}{rest}"] if kept or rest else []
        if len(rest) == 1:  # the value is a word of its own
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
