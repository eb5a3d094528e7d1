"""A `seedbed run` with two workers that goes on while a test looks at it, and a user who has no part in it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from determinism.pods import clean_environment
from support.eventually import eventually
from support.runs.job_builder import Recipe, Way, manifest

STRANGER = "61234"
"""A uid that nobody has."""
_FIRST_CHECKPOINT_SECONDS = 1500
_END_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A run of two workers that does not end by itself."""

    process: psutil.Popen
    folder: Path

    def tree(self) -> list[psutil.Process]:
        """Return the command and all that it has started."""
        return [self.process, *self.process.children(recursive=True)]

    def listeners(self) -> dict[int, tuple[str, str]]:
        """Return port -> address and name of the process."""
        found = {}
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                for each in process.net_connections(kind="tcp"):
                    if each.status == psutil.CONN_LISTEN:
                        found[each.laddr.port] = (each.laddr.ip, process.name())
        return found

    def process_named(self, name: str) -> psutil.Process:
        """Return the one process of this name."""
        (found,) = (process for process in self.tree() if process.name() == name)
        return found

    def checkpoints(self) -> int:
        """Return the completed steps of the newest checkpoint."""
        names = [path.name for path in self.folder.glob("runs/*/checkpoints/*")]
        return max((int(number) for name in names for number in re.findall(r"\d+", name)), default=0)

    def log(self) -> str:
        """Return what the command has printed."""
        return (self.folder / "log").read_text()


@contextmanager
def live_run(
    data: Path, folder: Path, *, program: Sequence[str] = ("-m", "seedbed.cli")
) -> Iterator[LiveRun]:
    """Start a run, wait for its first checkpoint, and stop it in the end as a user would."""
    job = manifest(Recipe(steps=1_000_000), Way(least=2, most=2), data=data, output=str(folder))
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, *program, "run", "-f", "job.json"]
    with (folder / "log").open("w") as log:
        process = psutil.Popen(command, cwd=folder, stdout=log, stderr=log, env=clean_environment())
    run = LiveRun(process=process, folder=folder)
    try:
        eventually(
            lambda: run.checkpoints() > 0 or process.poll() is not None,
            what="a checkpoint",
            seconds=_FIRST_CHECKPOINT_SECONDS,
        )
        assert process.poll() is None, run.log()
        yield run
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=_END_SECONDS) == 128 + signal.SIGTERM, run.log()
    finally:
        for left in run.tree() if process.poll() is None else []:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()


def as_stranger(command: Sequence[str], *, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command as another user, who has no rights but those of everybody."""
    as_user = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"]
    return subprocess.run(
        [*as_user, "--bounding-set=-all", "--no-new-privs", *command],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
    )


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what a command printed."""
    return (done.stdout + done.stderr).decode(errors="replace")
