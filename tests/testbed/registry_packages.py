"""Servers of the tests that npm or Maven bring: installed once per content of a folder into the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed.builds import SOURCES, ToolMissing, cache_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """A folder beside this file that pins packages, and the command that installs them into a copy of it."""

    folder: str
    files: tuple[str, ...]
    tools: tuple[str, ...]
    command: tuple[str, ...]


AZURITE = Packages(
    folder="azurite",
    files=("package.json", "package-lock.json"),
    tools=("node", "npm"),
    command=("npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"),
)
HDFS = Packages(
    folder="hdfs",
    files=("pom.xml", "Hdfs.java"),
    tools=("java", "mvn"),
    command=("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"),
)


def installed(packages: Packages) -> Path:
    """Return the folder with the installed packages; `ToolMissing` where they cannot be had."""
    missing = [f"no {tool}" for tool in packages.tools if shutil.which(tool) is None]
    if missing:
        raise ToolMissing(f"not run: {'; '.join(missing)}")
    folder = cache_folder() / _content(packages)
    done = folder / "installed"
    if done.exists():
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolMissing(f"not run: {packages.folder} has no place to be installed in: {error}") from error
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _install(packages, folder)
            done.touch()
    return folder


def _content(packages: Packages) -> str:
    digest = hashlib.sha256("\0".join(packages.command).encode())
    for name in packages.files:
        digest.update((SOURCES / packages.folder / name).read_bytes())
    return digest.hexdigest()[:32]


def _install(packages: Packages, folder: Path) -> None:
    for name in packages.files:
        shutil.copy(SOURCES / packages.folder / name, folder / name)
    done = subprocess.run(
        packages.command, check=False, cwd=folder, env=os.environ, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip() or "no reason given"
        raise ToolMissing(
            f"not run: {packages.command[0]} of {packages.folder} failed: {said.splitlines()[0]}"
        )
