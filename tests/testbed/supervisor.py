"""The process that holds one box: it ends with the process that started it, and leaves no cgroup, mount or folder.

`python -m testbed.supervisor FOLDER NAME KEEP ADDRESS…` starts PID 1 of the box, carries connections from loopback ports
of the machine to the ADDRESSes inside, prints one line of JSON when ready, and waits for SIGTERM or its starter's end.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from testbed.cgroups import remove_cgroups, remove_orphaned_cgroups
from testbed.children import tied_command
from testbed.relay import serve_relay

_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")


def main(arguments: list[str]) -> int:
    """Hold the box until told to stop or left alone; exit code 1 where it cannot be made."""
    folder, name, keep, *addresses = arguments
    remove_orphaned_cgroups()
    try:
        return asyncio.run(_hold(Path(folder), addresses))
    finally:
        remove_cgroups(name)
        if keep != "keep":
            shutil.rmtree(folder, ignore_errors=True)


async def _hold(folder: Path, addresses: list[str]) -> int:
    over = _end_awaited()
    command = [*_UNSHARE, sys.executable, "-S", "-E", str(Path(__file__).with_name("init_process.py"))]
    with (folder / "box.log").open("wb") as log:
        box = subprocess.Popen(
            tied_command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert box.stdout is not None
        if await asyncio.to_thread(box.stdout.readline) != b"ready\n":
            print(json.dumps({"error": (folder / "box.log").read_text().strip()}), flush=True)
            return 1
        first = _first_process(box.pid)
        ports = {address: await serve_relay(first, address) for address in addresses}
        state = json.dumps({"pid": first, "supervisor": os.getpid(), "ports": ports})
        (folder / "box.json").write_text(state)
        print(state, flush=True)
        await over.wait()
    finally:
        box.kill()
        box.wait()
    return 0


def _end_awaited() -> asyncio.Event:
    """Return an event that SIGTERM, SIGINT or the end of the parent process sets."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    loop.add_reader(os.pidfd_open(os.getppid()), over.set)
    return over


def _first_process(unshare: int) -> int:
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
