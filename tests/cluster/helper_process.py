"""A module of the tests as a process beside them, told what to do on its stdin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from testbed.kube import Json


@contextmanager
def beside(module: str, told: Json, log: Path) -> Iterator[IO[bytes]]:
    """Run a module and yield its stdin, which stays open; it is ended with the block."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", module]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=-1, stdout=output, stderr=output, env=environment) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        try:
            yield process.stdin
        finally:
            process.kill()
            # pytest shows it with a failure
            print(f"the end of {log}:\n{log.read_text(errors='replace')[-3000:]}")
