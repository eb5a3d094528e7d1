"""Which backend runs a job; chosen once, and kept in its status."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed_operator.backends.pods import PodsBackend
from seedbed_operator.backends.port import Backend

Backends = Mapping[str, Backend]
BACKENDS: Backends = {"Pods": PodsBackend()}
