"""What the testbed takes from the distribution: a container runtime, namespaces, Prometheus, Debian roots."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from testbed.builds import ToolMissing

_PACKAGE_OF = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "mount": "mount",
    "mmdebstrap": "mmdebstrap",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}


def missing_packages() -> list[str]:
    """Return the packages whose commands are not on this machine."""
    return sorted({package for command, package in _PACKAGE_OF.items() if not _there(command)})


def install_packages() -> None:
    """Install what is missing with apt; `ToolMissing` where there is no apt or no root to do it."""
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ToolMissing(f"not run: install {' '.join(missing)} first")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # no service starts
    install = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing)
    for command in (("apt-get", "update", "--quiet"), install):
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            raise ToolMissing(f"not run: {' '.join(command)} failed")


def _there(command: str) -> bool:
    if command.startswith("/"):
        return Path(command).exists()
    return shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is not None
