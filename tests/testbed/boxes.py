"""Boxes: own network, mounts and processes on this machine, started and stopped by one process id."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.eventually import NotSeen
from testbed.builds import ToolMissing, need
from testbed.cgroups import PREFIX, entry_file

_NEEDED = ("unshare", "nsenter", "mount", "ip", "openssl")
_TESTS = Path(__file__).parent.parent
_JOIN = 'echo $$ > "$0" && exec "$@"'


class NotStarted(NotSeen):
    """A daemon of the testbed ended or did not answer in time; the text has the end of its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """A process in a box; `pid` is its number outside."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    cgroup: str | None
    entering: subprocess.Popen[bytes] = field(repr=False)
    pid: int
    log: Path

    def running(self) -> bool:
        """Say whether it still runs."""
        return self.entering.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; `SIGSTOP` and `SIGCONT` pause it."""
        if self.running():
            os.kill(self.pid, number)
            if number in (signal.SIGCONT, signal.SIGKILL):  # nsenter stops itself with what it waits for
                self.entering.send_signal(signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGKILL, *, seconds: float = 240) -> None:
        """End it and wait for its end; SIGKILL where the signal did not do it in time."""
        self.send(number)
        try:
            self.entering.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.entering.wait(timeout=seconds)

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2000:]


@dataclass(kw_only=True, slots=True)
class Box:
    """A running box. Its /run, /var/lib and /var/log are its own and in memory, other files are those of the machine."""

    folder: Path
    """Logs, certificates and kubeconfigs, visible outside."""
    name: str
    """Unique on this machine; also the name of its cgroup folders."""
    pid: int
    ports: Mapping[str, int]
    """Loopback ports of the machine that lead to addresses inside."""
    supervisor: subprocess.Popen[str] = field(repr=False)

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` in the box, for any process of root."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "--", *command]

    def run(self, *command: str, feed: str | None = None, seconds: float = 240) -> str:
        """Run a command in the box to its end and return its output; an error carries what it said."""
        done = subprocess.run(
            self.inside(command), input=feed, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode != 0:
            raise NotStarted(
                f"{' '.join(command)} ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return done.stdout

    def write(self, files: Mapping[str, str]) -> None:
        """Write files into the box, also where only the box has memory."""
        for place, text in files.items():
            inside = Path(f"/proc/{self.pid}/root{place}")
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_text(text)

    def start(
        self,
        name: str,
        *command: str,
        environment: Mapping[str, str] | None = None,
        cgroup: str | None = None,
    ) -> Daemon:
        """Start a daemon in the box, its output in `<folder>/logs/<name>.log`."""
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        environment = dict(os.environ if environment is None else environment)
        joined = command if cgroup is None else ("sh", "-c", _JOIN, str(entry_file(cgroup)), *command)
        with log.open("ab") as output:
            entering = subprocess.Popen(
                self.inside(joined),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the starter, which ends the box in its own order
            )
        pid = _entered(entering)
        return Daemon(
            name=name,
            command=command,
            environment=environment,
            cgroup=cgroup,
            entering=entering,
            pid=pid,
            log=log,
        )

    def restart(self, daemon: Daemon) -> Daemon:
        """Start a daemon that was stopped once more, as it was."""
        assert not daemon.running()
        return self.start(daemon.name, *daemon.command, environment=daemon.environment, cgroup=daemon.cgroup)

    def stop(self) -> None:
        """Kill everything in the box and remove what it left."""
        self.supervisor.terminate()
        self.supervisor.wait(timeout=240)


def missing_means() -> list[str]:
    """Return what this machine lacks to make a box."""
    if sys.platform != "linux":
        return ["no Linux"]
    commands = [name for name in _NEEDED if shutil.which(name) is None]
    return [
        *(["not root"] if os.geteuid() != 0 else []),
        *([f"no {', '.join(commands)} (make testbed-packages)"] if commands else []),
    ]


def start_box(folder: Path, *, addresses: Sequence[str], keep: bool = False) -> Box:
    """Make a box that ends with this process; `addresses` are those inside that the machine can reach.

    The folder is removed at the end unless `keep`.
    """
    need(missing_means())
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
    command = [sys.executable, "-m", "testbed.supervisor", str(folder), name, "keep" if keep else "remove"]
    supervisor = subprocess.Popen(
        [*command, *addresses],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert supervisor.stdout is not None
    line = supervisor.stdout.readline()
    state: dict[str, Any] = json.loads(line) if line else {"error": "its supervisor ended"}
    if "error" in state:
        supervisor.wait()
        raise ToolMissing(f"not run: no namespaces: {state['error']}")
    return Box(folder=folder, name=name, pid=state["pid"], ports=state["ports"], supervisor=supervisor)


def _entered(entering: subprocess.Popen[bytes]) -> int:
    """Return the process that nsenter forked into the box."""
    children = Path(f"/proc/{entering.pid}/task/{entering.pid}/children")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and entering.poll() is None:
        found = children.read_text().split()
        if found:
            return int(found[0])
        time.sleep(0.002)
    return entering.pid
