"""A whole testbed in one box: a control plane, and what a test asks for beside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed.boxes import Box, check_means, start_box
from testbed.builds import KUBERNETES, built
from testbed.controlplanes import API_ADDRESS, ControlPlane, start_control_plane
from testbed.kube import Kube


@dataclass(kw_only=True, slots=True)
class Testbed:
    """A running testbed; `stop` ends all of it."""

    box: Box
    control: ControlPlane
    parts: list[str] = field(default_factory=list)

    @property
    def kube(self) -> Kube:
        """The admin's connection."""
        return self.control.kube

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig, for processes outside the box."""
        return self.control.kubeconfig


@contextmanager
def running_testbed(folder: Path | None = None, *, keep: bool = False) -> Iterator[Testbed]:
    """Run a testbed with its files in `folder`, removed at the end unless `keep`; `ToolMissing` without the means."""
    check_means()
    built(KUBERNETES)
    place = folder or Path(tempfile.mkdtemp(prefix="seedbed-testbed-"))
    try:
        box = start_box(place, addresses=(API_ADDRESS,), keep=keep)
        try:
            yield Testbed(box=box, control=start_control_plane(box))
        finally:
            box.stop()
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
