"""User code may change the process that it is loaded into; what the rest of the program relies on is put back."""

from __future__ import annotations

import contextlib
import decimal
import io
import locale
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seedbed.arithmetic.torch_determinism import changed_switches, enforce_determinism
from seedbed.environment.environment_pins import pinned_threads
from seedbed.usercode.process_globals import preserve_process_state


def mask() -> int:
    found = os.umask(0o22)
    os.umask(found)
    return found


def ours() -> logging.Logger:
    return logging.getLogger("seedbed.runtime")


CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "stdout is replaced": (lambda: setattr(sys, "stdout", io.StringIO()), lambda: sys.stdout),
    "stderr is closed for all": (lambda: setattr(sys, "stderr", None), lambda: sys.stderr),
    "a variable of ours is changed": (lambda: os.environ.update(HOME="/x"), lambda: os.environ.get("HOME")),
    "a variable is removed": (lambda: os.environ.pop("PATH"), lambda: os.environ.get("PATH")),
    "all variables are removed": (os.environ.clear, lambda: dict(os.environ)),
    "Ray is told of another cluster": (
        lambda: os.environ.update(RAY_ADDRESS="10.0.0.1:6379"),
        lambda: os.environ.get("RAY_ADDRESS"),
    ),
    "SIGTERM ends at once": (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "Ctrl-C is ignored": (
        lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGINT),
    ),
    "files may not be read": (lambda: os.umask(0o777), mask),
    "logging is off": (lambda: logging.disable(logging.CRITICAL), lambda: logging.root.manager.disable),
    "existing loggers are off": (lambda: setattr(ours(), "disabled", True), lambda: ours().disabled),
    "decimals are short": (lambda: setattr(decimal.getcontext(), "prec", 3), lambda: decimal.Decimal(1) / 3),
    "numpy raises": (lambda: np.seterr(all="raise"), np.geterr),
    "sockets have no time": (lambda: socket.setdefaulttimeout(1e-6), socket.getdefaulttimeout),
    "warnings raise": (lambda: warnings.simplefilter("error"), lambda: [f[0] for f in warnings.filters]),
    "no module is found": (sys.path.clear, lambda: set(sys.path)),
    "the stack is shallow": (lambda: sys.setrecursionlimit(300), sys.getrecursionlimit),
    "another locale": (
        lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"),
        lambda: locale.setlocale(locale.LC_ALL),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_user_code_changes_is_put_back(change: str) -> None:
    make, read = CHANGES[change]
    before = read()
    for _ in range(2):
        with preserve_process_state():
            make()
        assert read() == before
        with contextlib.suppress(ValueError), preserve_process_state():
            make()
            raise ValueError
        assert read() == before


def test_what_the_code_owns_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(".")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MY_SETTING", "old")
    monkeypatch.delenv("MY_SETTING")
    with preserve_process_state(), warnings.catch_warnings():
        os.environ["MY_SETTING"] = "1"
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
    assert (os.environ["MY_SETTING"], Path.cwd(), sys.path[0]) == ("1", tmp_path, str(tmp_path))


SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "torch.use_deterministic_algorithms": (
        lambda: torch.set_deterministic_debug_mode("warn"),
        lambda: torch.set_deterministic_debug_mode("error"),
    ),
    "torch.set_num_threads": (
        lambda: torch.set_num_threads(pinned_threads() + 1),
        lambda: torch.set_num_threads(pinned_threads()),
    ),
    "torch.set_default_dtype": (
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "torch.set_default_device": (
        lambda: torch.set_default_device("meta"),
        lambda: torch.set_default_device(None),
    ),
    "torch.set_grad_enabled": (
        lambda: torch.set_grad_enabled(False),
        lambda: torch.set_grad_enabled(True),
    ),
    "torch.set_float32_matmul_precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ),
    "torch.backends.mkldnn.enabled": (
        lambda: setattr(torch.backends.mkldnn, "enabled", False),
        lambda: setattr(torch.backends.mkldnn, "enabled", True),
    ),
    "torch.backends.cudnn.benchmark": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: setattr(torch.backends.cudnn, "benchmark", False),
    ),
}


@pytest.fixture
def _determined() -> Iterator[None]:
    enforce_determinism(threads=pinned_threads())
    yield
    for _, undo in SWITCHES.values():
        undo()


@pytest.mark.usefixtures("_determined")
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_that_the_bits_depend_on_is_named(switch: str) -> None:
    change, undo = SWITCHES[switch]
    assert changed_switches(threads=pinned_threads()) == []
    change()
    assert switch in changed_switches(threads=pinned_threads())
    undo()
    assert changed_switches(threads=pinned_threads()) == []
