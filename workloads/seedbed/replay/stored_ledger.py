"""Read a stored ledger step by step; segments are verified, and gaps are reported rather than fatal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from seedbed.replay.receipt_location import damaged, read_object
from seedbed.runs import CHAIN_START, LedgerSegment, LedgerStep, RunFolder
from seedbed.runs.ledger import parse_segment
from seedbed.storage.object_limits import LEDGER_SEGMENT

_NAME = re.compile(r"ledger/(\d+)-(\d+)-[0-9a-f]{16}\.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The segment of the 0-based steps [first, stop)."""

    first: int
    stop: int
    path: str


@dataclass(kw_only=True, slots=True)
class StoredLedger:
    """The ledger of a run folder; holds one segment in memory at a time. Steps are 0-based here."""

    folder: RunFolder
    spans: tuple[Span, ...]
    _segment: LedgerSegment | None = field(default=None, init=False)
    _chains: list[bytes] = field(default_factory=list, init=False)

    @property
    def stop(self) -> int:
        """Return the first step after the last that is stored."""
        return max((span.stop for span in self.spans), default=0)

    def step(self, step: int) -> LedgerStep | None:
        """Return a step, None if no segment has it."""
        span = next((span for span in self.spans if span.first <= step < span.stop), None)
        if span is None:
            return None
        if self._segment is None or self._segment.path != span.path:
            self._segment = read_segment(self.folder, span)
            self._chains = self._segment.chains()
        segment, offset = self._segment, step - span.first
        return LedgerStep(
            step=step,
            rows=segment.rows[offset],
            leaf_digests=tuple(leaf.tobytes() for leaf in segment.digests[offset]),
            loss=float(segment.loss[offset]),
            witness=segment.witness[offset],
            chain=self._chains[offset],
        )

    def gaps(self, *, stop: int) -> list[range]:
        """Return the ranges of steps below `stop` that no segment has."""
        gaps, reached = [], 0
        for span in self.spans:
            if span.first > reached:
                gaps.append(range(reached, min(span.first, stop)))
            reached = max(reached, span.stop)
        return [gap for gap in [*gaps, range(reached, stop)] if len(gap)]

    def check(self, *, shape: tuple[int, int]) -> dict[int, bytes]:
        """Read all segments and return the chain after each number of completed steps.

        `shape` is (L, m). Raises RunFolderDamaged for a segment that is damaged or does not link to its
        neighbours.
        """
        chains = {0: CHAIN_START}
        for span in self.spans:
            segment = read_segment(self.folder, span)
            if segment.rows.shape[1:] != shape:
                raise damaged(
                    self.folder, span.path, "it has another number of leaves or rows than the recipe"
                )
            found = [segment.chain_before, *segment.chains()]
            for completed, chain in enumerate(found, start=span.first):
                if chains.setdefault(completed, chain) != chain:
                    raise damaged(
                        self.folder, span.path, f"it does not link to the others at step {completed}"
                    )
        return chains


def stored_ledger(folder: RunFolder) -> StoredLedger:
    """Return the ledger of a run folder; only the names of its segments are read."""
    return StoredLedger(folder=folder, spans=_spans(folder.objects.list("ledger")))


def read_segment(folder: RunFolder, span: Span) -> LedgerSegment:
    """Read a segment. Raises RunFolderDamaged if its contents do not match its name."""
    data = read_object(folder, span.path, LEDGER_SEGMENT)
    if data is None:
        raise damaged(folder, span.path, "it was deleted during the check")
    try:
        segment = parse_segment(data)
        matches = segment.path == span.path
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise damaged(folder, span.path, str(error) or type(error).__name__) from error
    if not matches:
        raise damaged(folder, span.path, "its contents do not match its name")
    return segment


def _spans(paths: Iterable[str]) -> tuple[Span, ...]:
    """Return the spans by first step; of spans with the same first step, the longest is first."""
    matches = (_NAME.fullmatch(path) for path in paths)
    spans = [Span(first=int(m[1]), stop=int(m[2]), path=m.string) for m in matches if m]
    return tuple(sorted(spans, key=lambda span: (span.first, -span.stop)))
