"""The pieces in which the curves of a run are stored while it trains; one that is there is whole."""

from __future__ import annotations

import re
from dataclasses import dataclass

from seedbed.runs.run_folder import RunFolder

_PIECE = re.compile(r"metrics/(?P<after>\d+)-(?P<until>\d+)(?P<last>-last)?\.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePiece:
    """The curves of the steps (after, until]."""

    after: int
    until: int
    last: bool
    """The training was over with it."""

    @property
    def path(self) -> str:
        """Return the name of its lines of JSON in the run folder."""
        return f"metrics/{self.after:010d}-{self.until:010d}{'-last' if self.last else ''}.jsonl"


def list_curve_pieces(folder: RunFolder) -> list[CurvePiece]:
    """Return the pieces that are there, in their order."""
    found = (_PIECE.fullmatch(path) for path in folder.objects.list("metrics"))
    pieces = [
        CurvePiece(after=int(match["after"]), until=int(match["until"]), last=match["last"] is not None)
        for match in found
        if match
    ]
    return sorted(pieces, key=lambda piece: (piece.after, piece.until))
