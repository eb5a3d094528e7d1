"""Somebody at a terminal who types what the docs say: kubectl and seedbed as a user of a cluster has them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.stocking import REPOSITORY
from testbed.testbeds import Testbed

CONSOLE = re.compile(r"```console\n(?P<text>.*?)```", re.DOTALL)
LEFT_OPEN = re.compile(r"(?P<name>\w+)=…")


def console(page: str) -> list[str]:
    """Return the commands that a page of the docs tells to type on a cluster."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return [line for block in CONSOLE.finditer(text) for line in block["text"].splitlines()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminal:
    """A shell in a clone."""

    environment: Mapping[str, str]
    knows: Mapping[str, str]
    """What the reader writes where a page leaves a value open."""

    def types(self, line: str, *, seconds: float = 900) -> str:
        """Type a line and return what it prints; `AssertionError` with all of it where it fails."""
        told = LEFT_OPEN.sub(lambda found: f"{found['name']}={self.knows[found['name']]}", line)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", told],
            cwd=REPOSITORY,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def terminal_on(testbed: Testbed, namespace: str, folder: Path) -> Terminal:
    """Return the terminal of a user of a namespace, who has kubectl, seedbed and the keys of the stores."""
    kubectl, config = folder / "bin/kubectl", folder / "kubeconfig"
    kubectl.parent.mkdir()
    kubectl.write_text(f'#!/bin/sh\nexec {shlex.quote(str(testbed.control.binary))} kubectl "$@"\n')
    kubectl.chmod(0o755)
    config.write_bytes(testbed.kubeconfig.read_bytes())
    path = os.pathsep.join((str(kubectl.parent), str(Path(sys.executable).parent), os.environ["PATH"]))
    keys = testbed.s3.outside.environment()
    terminal = Terminal(environment={**keys, "KUBECONFIG": str(config), "PATH": path}, knows=keys)
    terminal.types(f"kubectl config set-context --current --namespace={namespace}")
    return terminal
