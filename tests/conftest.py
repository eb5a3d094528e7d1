"""Fixtures that every tier shares. The process is pinned before anything imports torch, as every worker is."""

from __future__ import annotations

import os

from seedbed.environment.pins import pin_environment
from seedbed.runtime.ray_local import prepare

pin_environment(os.environ)
prepare(os.environ)

from testbed.fixtures import s3, s3_faults  # noqa: E402

__all__ = ["s3", "s3_faults"]
