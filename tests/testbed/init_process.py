"""PID 1 of a box: mounts what its daemons write to over the machine's own folders, then reaps orphans for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

_TMPFS = ("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs")


def main() -> None:
    """Prepare the namespaces that `unshare` made, say `ready`, reap."""
    mount_private_folders()
    _run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    print("ready", flush=True)
    sys.stdout.close()
    os.close(1)
    while True:
        reap()


def mount_private_folders() -> None:
    """Lay memory over /run and /var/log, and a layer of memory over /var/lib; the machine's folders stay as they are."""
    for folder in ("/run", "/var/log"):
        _run(*_TMPFS, folder)
    for name in ("upper", "work"):
        Path("/run/lib", name).mkdir(parents=True)
    layers = "lowerdir=/var/lib,upperdir=/run/lib/upper,workdir=/run/lib/work"
    _run("mount", "-t", "overlay", "-o", layers, "overlay", "/var/lib")
    for folder in ("/var/lib/kubelet", "/var/lib/cni"):
        Path(folder).mkdir(exist_ok=True)
        _run(*_TMPFS, folder)
    for folder in ("/run/netns", "/run/containerd", "/run/lock", "/var/log/containers"):
        Path(folder).mkdir(parents=True)


def reap() -> None:
    """Wait for one child, or a moment where there is none."""
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.1)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
