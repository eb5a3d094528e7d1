"""Reading the ledger back, and the proof that every row was consumed once per epoch."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from seedbed.runs.ledger import CHAIN_START, Int64, LedgerSegment, parse_segment
from seedbed.runs.run_folder import RunFolder
from seedbed_api.errors import InfrastructureError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"ledger/(?P<first>\d+)-(?P<stop>\d+)-(?P<chain>[0-9a-f]{16})\.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerStep:
    """One step of the ledger as read; shapes (L, m), (L, 32), (), (T,)."""

    step: int
    rows: Int64
    leaf_digests: tuple[bytes, ...]
    loss: float
    witness: Int64
    chain: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerReader:
    """The steps of a run's ledger, taken from whichever segments verify and link."""

    folder: RunFolder

    def steps(self, *, first: int = 0, stop: int) -> Iterator[LedgerStep]:
        """Yield steps [first, stop) in order; LedgerDamaged where no verified segment covers one."""
        step, chain = 0, CHAIN_START
        names = self._names()
        while step < stop:
            segment = self._covering(names, step, chain)
            chains = segment.chains()
            for offset in range(step - segment.first, len(chains)):
                if first <= step < stop:
                    yield _step_of(segment, offset, chains[offset])
                step, chain = step + 1, chains[offset]

    def rows(self, *, stop: int) -> Iterator[tuple[int, Int64]]:
        """Yield (step, rows (L, m)) of steps [0, stop)."""
        for entry in self.steps(stop=stop):
            yield entry.step, entry.rows

    def chain(self, *, stop: int) -> bytes:
        """Return the chain after step `stop - 1`."""
        chain = CHAIN_START
        for entry in self.steps(stop=stop):
            chain = entry.chain
        return chain

    def _names(self) -> list[tuple[int, int, str]]:
        """Return (first, stop, path) of all segments, the longest first."""
        matches = (_NAME.fullmatch(path) for path in self.folder.objects.list("ledger"))
        spans = [(int(m["first"]), int(m["stop"]), m.string) for m in matches if m]
        return sorted(spans, key=lambda span: span[0] - span[1])

    def _covering(self, names: list[tuple[int, int, str]], step: int, chain: bytes) -> LedgerSegment:
        tried = []
        for first, stop, path in names:
            if not first <= step < stop:
                continue
            problem, segment = self._verified(path, step, chain)
            if segment is not None:
                return segment
            tried.append(f"{path}: {problem}")
            logger.warning("ledger segment is not used: %s/%s: %s", self.folder.url, path, problem)
        found = "; ".join(tried) or "there is none"
        message = f"{self.folder.url}: no segment that verifies covers step {step} ({found})"
        raise InfrastructureError("LedgerDamaged", message)

    def _verified(self, path: str, step: int, chain: bytes) -> tuple[str, LedgerSegment | None]:
        """Return a segment whose contents match its name and whose chain before `step` is `chain`."""
        try:
            segment = parse_segment(self.folder.objects.read(path))
        except (ValueError, KeyError, FileNotFoundError) as error:
            return str(error), None
        if segment.path != path:
            return "its contents are not what its name says", None
        before = [segment.chain_before, *segment.chains()][step - segment.first]
        return ("", segment) if before == chain else ("it does not link to the steps before", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerCoverage:
    """What the ledger proved."""

    epochs: int
    """Complete epochs, each row of the view once."""
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
    stream = _Stream(members=members)
    for step, rows in reader.rows(stop=total_steps):
        stream.take(step, rows.reshape(-1))
    return stream.finished(epochs)


class _Stream:
    """Rows in the order of consumption, counted epoch by epoch."""

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


def _step_of(segment: LedgerSegment, offset: int, chain: bytes) -> LedgerStep:
    return LedgerStep(
        step=segment.first + offset,
        rows=segment.rows[offset],
        leaf_digests=tuple(leaf.tobytes() for leaf in segment.digests[offset]),
        loss=float(segment.loss[offset]),
        witness=segment.witness[offset],
        chain=chain,
    )
