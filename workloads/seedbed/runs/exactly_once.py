"""Proof from the ledger that every row was consumed exactly once per epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seedbed.runs.ledger import Int64, LedgerReader
from seedbed_api.errors import InfrastructureError


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerCoverage:
    """Rows and epochs that the ledger covers."""

    epochs: int
    """Complete epochs: each row of the view exactly once."""
    rows_per_epoch: int
    partial: int
    """Rows of a last, unfinished epoch, none of them twice; 0 where training ends with an epoch."""
    fill: tuple[int, ...]
    """Rows that filled the last step, from the start of the epoch that would follow."""


def check_exactly_once(
    reader: LedgerReader, *, view_rows: Int64, total_steps: int, epochs: int | None = None
) -> LedgerCoverage:
    """Prove that the ledger holds every row of the view once per epoch; LedgerBroken names a row.

    `view_rows` are the train rows in any order, N of them. With `epochs`, rows beyond epochs·N are fill.
    """
    members = np.sort(np.asarray(view_rows, dtype=np.int64))
    counter = _RowCounter(members=members)
    for step, rows in reader.rows(stop=total_steps):
        counter.take(step, rows.reshape(-1))
    return counter.finished(epochs)


class _RowCounter:
    """Counts rows epoch by epoch in the order of consumption."""

    def __init__(self, *, members: Int64) -> None:
        self._members = members
        self._seen = np.full(len(members), -1, dtype=np.int64)
        self._epoch = 0
        self._current: list[int] = []

    def take(self, step: int, rows: Int64) -> None:
        while len(rows):
            room = len(self._members) - len(self._current)
            self._note(step, rows[:room])
            rows = rows[room:]
            if len(self._current) == len(self._members):
                self._epoch, self._current = self._epoch + 1, []
                self._seen[:] = -1

    def _note(self, step: int, rows: Int64) -> None:
        places = np.searchsorted(self._members, rows)
        places[places == len(self._members)] = 0
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if self._members[place] != row:
                raise _broken(f"epoch {self._epoch}: row {row} of step {step} is not of the view")
            if self._seen[place] >= 0:
                raise _broken(f"epoch {self._epoch}: row {row} twice (steps {self._seen[place]} and {step})")
            self._seen[place] = step
        self._current.extend(rows.tolist())

    def finished(self, epochs: int | None) -> LedgerCoverage:
        if epochs is not None and self._epoch != epochs:
            raise _broken(f"{self._epoch} complete epochs, the recipe asks for {epochs}")
        fill = tuple(self._current) if epochs is not None else ()
        return LedgerCoverage(
            epochs=self._epoch,
            rows_per_epoch=len(self._members),
            partial=0 if epochs is not None else len(self._current),
            fill=fill,
        )


def _broken(text: str) -> InfrastructureError:
    return InfrastructureError("LedgerBroken", text)
