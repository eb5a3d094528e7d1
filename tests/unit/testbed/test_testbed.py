"""The servers of the testbed end with the test process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
        deadline = time.monotonic() + 60
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
