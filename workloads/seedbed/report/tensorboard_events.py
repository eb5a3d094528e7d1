"""Event files of TensorBoard."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from seedbed.report.metric_series import Point


def event_file(points: Iterable[Point]) -> bytes:
    """Return an event file with a scalar for each value of each point."""
    from tensorboardX import SummaryWriter  # imports torch: seconds that nobody else should wait for

    with tempfile.TemporaryDirectory(prefix="seedbed-tensorboard-") as folder:
        with SummaryWriter(folder, write_to_disk=True) as writer:
            for point in points:
                for name, value in point.values.items():
                    writer.add_scalar(name, value, point.step)
        (path,) = Path(folder).iterdir()
        return path.read_bytes()
