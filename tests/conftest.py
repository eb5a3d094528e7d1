"""Fixtures that every tier shares."""

from __future__ import annotations

from testbed.fixtures import s3, s3_faults

__all__ = ["s3", "s3_faults"]
