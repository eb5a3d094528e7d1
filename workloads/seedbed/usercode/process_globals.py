"""Global state of the process that user code may change at import: saved before it runs and restored after.

Settings that bits depend on are checked elsewhere (`arithmetic.torch_determinism`). The working directory is
not restored: no path of a run is relative.
"""

from __future__ import annotations

import decimal
import locale
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_READ_BY_US = ("RAY_", "SEEDBED_", "PYTHON", "LD_", "GLIBC_", "OMP_", "MKL_", "OPENBLAS_", "GLOO_", "TORCH_")
"""New variables with these prefixes are removed; others that the code adds stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One part of the state of a process."""

    read: Callable[[], Any]
    restore: Callable[[Any], object]


@contextmanager
def preserve_process_state() -> Iterator[None]:
    """Restore what user code changed, also if it raises."""
    before = [(part, part.read()) for part in _parts()]
    try:
        yield
    finally:
        for part, value in before:
            if part.read() != value:
                part.restore(value)


def _parts() -> tuple[_Part, ...]:
    import numpy as np

    return (
        _Part(read=lambda: (sys.stdin, sys.stdout, sys.stderr), restore=_set_streams),
        _Part(read=lambda: dict(os.environ), restore=_set_environment),
        _Part(read=lambda: list(sys.path), restore=_add_missing_paths),
        _Part(read=_handlers, restore=_set_handlers),
        _Part(read=_umask, restore=os.umask),
        _Part(read=lambda: logging.root.manager.disable, restore=logging.disable),
        _Part(read=_disabled_loggers, restore=_enable_loggers),
        _Part(read=lambda: locale.setlocale(locale.LC_ALL), restore=_set_locale),
        _Part(read=_decimals, restore=_set_decimals),
        _Part(read=np.geterr, restore=lambda errors: np.seterr(**errors)),
        _Part(read=socket.getdefaulttimeout, restore=socket.setdefaulttimeout),
        _Part(read=sys.getrecursionlimit, restore=_raise_recursion_limit),
        _Part(read=lambda: list(warnings.filters), restore=_drop_new_errors),
    )


def _set_streams(streams: tuple[Any, Any, Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


def _set_environment(before: dict[str, str]) -> None:
    """Restore all variables; remove new ones that Ray, torch or Seedbed would read."""
    for name in [name for name in os.environ if name not in before and name.startswith(_READ_BY_US)]:
        del os.environ[name]
    os.environ.update(before)


def _add_missing_paths(before: list[str]) -> None:
    sys.path.extend(path for path in before if path not in sys.path)


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in _STOPPING]


def _set_handlers(handlers: list[Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in zip(_STOPPING, handlers, strict=True):
        if handler is not None:  # None: set by C code, which Python cannot set again
            signal.signal(number, handler)


def _umask() -> int:
    """Return the mask without setting it, which would affect other threads."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


def _disabled_loggers() -> set[str]:
    known = logging.root.manager.loggerDict.items()
    return {name for name, logger in known if isinstance(logger, logging.Logger) and logger.disabled}


def _enable_loggers(before: set[str]) -> None:
    """Enable our loggers again: by default `dictConfig` disables all existing loggers."""
    for name in _disabled_loggers() - before:
        if name.partition(".")[0] in ("seedbed", "seedbed_api"):
            logging.getLogger(name).disabled = False


def _set_locale(before: str) -> None:
    locale.setlocale(locale.LC_ALL, before)


def _decimals() -> tuple[Any, ...]:
    now = decimal.getcontext()
    traps = frozenset(signal for signal, on in now.traps.items() if on)
    return now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp, traps


def _set_decimals(before: tuple[Any, ...]) -> None:
    prec, rounding, least, most, capitals, clamp, traps = before
    decimal.setcontext(decimal.Context(prec, rounding, least, most, capitals, clamp, [], list(traps)))


def _raise_recursion_limit(before: int) -> None:
    sys.setrecursionlimit(max(before, sys.getrecursionlimit()))


def _drop_new_errors(before: list[Any]) -> None:
    """Remove new filters that turn warnings into errors; those that ignore warnings stay."""
    filters = [entry for entry in warnings.filters if entry in before or entry[0] != "error"]
    warnings.filters[:] = filters  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]  # warnings.resetwarnings does the same
