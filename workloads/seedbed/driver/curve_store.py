"""Metric curves of a run in its folder: pieces during the training, one file when a call of the driver ends.

`metrics/<after>-<until>.jsonl`, and an event file of TensorBoard, hold the steps (after, until] and the
evaluations at [after, until); the last piece holds those of the last step too. `metrics.jsonl` is all pieces.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.report.metric_series import MetricPoint, event_file, metric_points
from seedbed.runs.curve_pieces import CurvePiece, list_curve_pieces
from seedbed.runs.run_folder import RunFolder
from seedbed.storage.object_limits import METRICS_PIECE
from seedbed_api.errors import SeedbedError

METRICS = "metrics.jsonl"
LIVE_SECONDS = 60.0
"""The least time between two pieces during the training."""
logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class CurveStore:
    """Writes new points. An error is logged once and does not fail the run."""

    folder: RunFolder
    schedule: LearningRate
    total_steps: int
    _written: float = field(default_factory=time.monotonic)
    _told: bool = False

    def follow(self, kept: int) -> bool:
        """Write a piece up to a step whose checkpoint is stored, if the last one is a minute old; say so."""
        if time.monotonic() - self._written < LIVE_SECONDS:
            return False
        self._note(kept, over=False)
        self._written = time.monotonic()
        return True

    def join(self, until: int, *, over: bool) -> None:
        """Write what is missing up to a step whose checkpoint is stored, and all pieces as one file.

        Where the training is over, the evaluations after that step belong to it.
        """
        self._note(until, over=over)
        try:
            pieces = [piece.path for piece in list_curve_pieces(self.folder)]
            lines = b"".join(self.folder.objects.read(path, METRICS_PIECE) for path in pieces)
            self.folder.objects.put(METRICS, lines)
        except (SeedbedError, OSError) as error:
            self._tell(error)

    def _note(self, until: int, *, over: bool) -> None:
        try:
            self._advance(until, over=over)
        except (SeedbedError, ValueError, OSError) as error:  # ValueError: a segment is damaged
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            logger.warning("the metric curves of this run cannot be stored at present: %s", error)
        self._told = True

    def _advance(self, until: int, *, over: bool) -> None:
        pieces = list_curve_pieces(self.folder)
        after = pieces[-1].until if pieces else 0
        if (pieces and pieces[-1].last) or (after >= until and not over):
            return
        piece = CurvePiece(after=after, until=max(after, until), last=over)
        found = metric_points(
            self.folder,
            self.schedule,
            total_steps=self.total_steps,
            after=after,
            until=piece.until,
            before=piece.until + over,
        )
        self._store(piece, list(found))

    def _store(self, piece: CurvePiece, found: Sequence[MetricPoint]) -> None:
        """Write the event file first: a piece that is there is whole."""
        self.folder.objects.put(f"tensorboard/events.out.tfevents.{piece.after:010d}", event_file(found))
        lines = "".join(f"{point.line()}\n" for point in found)
        self.folder.objects.put(piece.path, lines.encode())
