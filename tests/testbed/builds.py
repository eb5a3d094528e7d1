"""Go tools of the testbed, built once per content into the user's cache.

Each folder with a go.mod is a module. The tools of one share what they compile: most bring Kubernetes' client libraries.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")


class ToolMissing(Exception):  # noqa: N818 - a state of the machine, not a fault
    """The means to build a tool are not on this machine; the text is the reason to print."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A command: a package that the go.mod of a folder beside this file pins, or one of our own in that folder."""

    name: str
    package: str
    module: str = "tools"
    values: tuple[tuple[str, str], ...] = ()
    """Variables set by the linker, such as versions that a release build would have."""

    @property
    def folder(self) -> Path:
        """The folder of the module."""
        return SOURCES / self.module

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `go build`; compiler flags are alike for all tools, so that they share the build cache."""
        values = "".join(f" -X {name}={value}" for name, value in self.values)
        return (*FLAGS, f"-ldflags=-s -w{values}")

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that decide about the binary."""
        own = (self.folder / self.package / "main.go",) if self.package.startswith(".") else ()
        return (self.folder / "go.mod", self.folder / "go.sum", *own)


KUBERNETES_VERSION = "v1.36.4"
KUBERNETES = Tool(
    name="kubernetes",
    package=".",
    module="kubernetes",
    values=(
        ("k8s.io/component-base/version.gitVersion", KUBERNETES_VERSION),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "36"),
        ("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES_VERSION),
    ),
)
COREDNS = Tool(name="coredns", package="./coredns")
HELM3 = Tool(name="helm3", package="helm.sh/helm/v3/cmd/helm")
HELM4 = Tool(name="helm4", package="helm.sh/helm/v4/cmd/helm")
KWOK = Tool(name="kwok", package="sigs.k8s.io/kwok/cmd/kwok")
PAUSE = Tool(name="pause", package="./pause")
GCS_SERVER = Tool(name="fake-gcs-server", package="github.com/fsouza/fake-gcs-server", module="gcs")
VERSITYGW = Tool(name="versitygw", package="github.com/versity/versitygw/cmd/versitygw")
TOOLS = (KUBERNETES, PAUSE, VERSITYGW, GCS_SERVER, KWOK, COREDNS, HELM3, HELM4)


def need(missing: Sequence[str]) -> None:
    """Raise `ToolMissing` that names everything that is missing, if anything is."""
    if missing:
        raise ToolMissing(f"not run: {'; '.join(missing)}")


def missing_for(*tools: Tool) -> list[str]:
    """Return what this machine lacks to build those of the tools that are not built yet."""
    return [] if shutil.which("go") or all(binary_of(tool).exists() for tool in tools) else ["no Go"]


def built(tool: Tool) -> Path:
    """Return the tool's binary, built first if this content was never built here; `ToolMissing` without Go."""
    binary = binary_of(tool)
    if binary.exists():
        return binary
    need(missing_for(tool))
    go = shutil.which("go") or "go"
    try:
        binary.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{error.filename} cannot be made ({error.strerror}); XDG_CACHE_HOME may name another place"
        raise ToolMissing(f"not run: {tool.name} has no place to be built in: {why}") from error
    with _locked(binary.parent / "lock"):
        if not binary.exists():
            _build(go, tool, binary)
    return binary


def binary_of(tool: Tool) -> Path:
    """Return where the binary of the tool's present content lies, built or not."""
    return cache_folder() / _content(tool) / tool.name


def cache_folder() -> Path:
    """Return the folder of what is built or installed once per content."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "seedbed" / "testbed"


def _content(tool: Tool) -> str:
    digest = hashlib.sha256("\0".join((tool.package, *tool.flags)).encode())
    for path in tool.sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _build(go: str, tool: Tool, binary: Path) -> None:
    aside = binary.with_suffix(".building")
    command = [go, "build", "-v", *tool.flags, "-o", str(aside), tool.package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    with subprocess.Popen(
        command,
        cwd=tool.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        last = _shown(tool, process.stderr)
    if process.returncode != 0:
        raise ToolMissing(f"not run: go build of {tool.name} failed: {last}")
    aside.replace(binary)


def _shown(tool: Tool, lines: Iterator[str]) -> str:
    """Print one line per 5 s while packages compile; return the last line of the compiler."""
    count, last, started, told = 0, "", time.monotonic(), 0.0
    for line in lines:
        count, last = count + 1, line.strip() or last
        elapsed = time.monotonic() - started
        if elapsed - told >= 5:
            told = elapsed
            print(
                f"testbed: building {tool.name}: {count} packages, {elapsed:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return last


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
