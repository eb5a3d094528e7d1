"""The type of a command in its own process, and the model of one that succeeded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

Typed = Callable[..., subprocess.CompletedProcess[str]]


def model_of(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """Return run identity and weights digest of a run that succeeded."""
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    return status["runID"], status["model"]["weightsDigest"]
