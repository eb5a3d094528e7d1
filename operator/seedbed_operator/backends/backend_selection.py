"""Which backend runs a job; chosen once, and kept in its status."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed_operator.backends.backend_interface import Backend
from seedbed_operator.backends.pods_backend import PodsBackend

Backends = Mapping[str, Backend]
BACKENDS: Backends = {"Pods": PodsBackend()}
