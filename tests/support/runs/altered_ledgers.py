"""Ledger segments with one value changed."""

from __future__ import annotations

from dataclasses import replace

from seedbed.runs import LedgerSegment


def swapped_rows(segment: LedgerSegment, offset: int) -> LedgerSegment:
    rows = segment.rows.copy()
    rows[offset, 2, 0], rows[offset, 3, 1] = rows[offset, 3, 1], rows[offset, 2, 0]
    return replace(segment, rows=rows)


def other_witness(segment: LedgerSegment, offset: int) -> LedgerSegment:
    witness = segment.witness.copy()
    witness[offset, 4] += 1
    return replace(segment, witness=witness)
