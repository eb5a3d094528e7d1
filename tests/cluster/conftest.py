"""Fixtures that several modules of this tier share."""

from __future__ import annotations

from cluster.test_operator import operator, scene

__all__ = ["operator", "scene"]
