"""The ports of a driver pod, and the HTTP paths of its endpoint."""

from __future__ import annotations

from typing import Final

RAY_PORT: Final = 6379
"""Port of the Ray head."""
RAY_PORT_NAME: Final = "ray"
PROGRESS_PORT: Final = 8701
"""Port of the driver's endpoint."""
PROGRESS_PORT_NAME: Final = "progress"

PROGRESS_PATH: Final = "/progress"
"""LiveProgress as JSON, for the operator."""
METRICS_PATH: Final = "/metrics"
HEALTH_PATH: Final = "/healthz"
NEEDED_PATH: Final = "/needed"
"""Whether the attempt still needs a worker, which sends its name as `?pod=` and the job's token."""
JOB_UID_HEADER: Final = "Seedbed-Job-Uid"
"""Header of the operator's request: uid of the job whose driver it asks."""
