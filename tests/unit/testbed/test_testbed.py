"""The testbed itself: its servers end with the test process, and a missing Go is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.builds import VERSITYGW, ToolMissing, binary_of, built

SLEEPER = """
import os, sys, time
from pathlib import Path
from testbed.children import start_tied
print(start_tied(["/bin/sleep", "60"], environment=os.environ, log=Path(sys.argv[1])).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="not run: needs Linux (parent-death signal)")
def test_server_ends_with_a_test_process_that_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", SLEEPER, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + 10
        while "sleep" not in _command(child) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "sleep" in _command(child), "the server lived"
        parent.send_signal(signal.SIGKILL)
    while "sleep" in _command(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "sleep" not in _command(child)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_missing_go_is_a_reason_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"^not run: no Go$"):
        built(VERSITYGW)


def test_binary_is_named_by_the_content_of_its_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = binary_of(VERSITYGW)
    (tmp_path / "versitygw").mkdir()
    for name in ("go.mod", "go.sum"):
        text = _source(name).read_text()
        (tmp_path / "versitygw" / name).write_text(text)
    monkeypatch.setattr("testbed.builds.SOURCES", tmp_path)
    assert binary_of(VERSITYGW) == before
    (tmp_path / "versitygw" / "go.sum").write_text("other")
    assert binary_of(VERSITYGW) != before


def _source(name: str) -> Path:
    from testbed import builds

    return Path(builds.__file__).parent / "versitygw" / name
