"""Pieces in which the curves of a run are stored while it trains; each object is complete."""

from __future__ import annotations

import re
from dataclasses import dataclass

from seedbed.runs.run_folder import RunFolder

_PIECE = re.compile(r"metrics/(?P<after>\d+)-(?P<until>\d+)(?P<last>-last)?\.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePiece:
    """Curves of the steps (after, until]."""

    after: int
    until: int
    last: bool
    """Whether the training ended with it."""

    @property
    def path(self) -> str:
        """Return its path in the run folder; its content is JSON lines."""
        return f"metrics/{self.after:010d}-{self.until:010d}{'-last' if self.last else ''}.jsonl"


def list_curve_pieces(folder: RunFolder) -> list[CurvePiece]:
    """Return the stored pieces in the order of their steps."""
    found = (_PIECE.fullmatch(path) for path in folder.objects.list("metrics"))
    pieces = [
        CurvePiece(after=int(match["after"]), until=int(match["until"]), last=match["last"] is not None)
        for match in found
        if match
    ]
    return sorted(pieces, key=lambda piece: (piece.after, piece.until))
