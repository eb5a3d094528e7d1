"""The ledger: rows and digests that each leaf consumed in each step, chained over steps, stored in segments.

The chain does not depend on where segments are cut, on workers or on attempts. Shapes: S steps of a segment,
L leaves, m rows of a leaf, T tensors of the witness.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.runs.run_folder import RunFolder
from seedbed.runs.tensor_serialization import deserialize, serialize
from seedbed.storage.object_limits import LEDGER_SEGMENT
from seedbed_api.errors import InfrastructureError

logger = logging.getLogger(__name__)

CHAIN_START = bytes(32)
"""The chain before step 0."""
_NAME = re.compile(r"ledger/(?P<first>\d+)-(?P<stop>\d+)-(?P<chain>[0-9a-f]{16})\.safetensors")

Int64 = npt.NDArray[np.int64]


def leaf_digest(rows_m: npt.ArrayLike, labels_m: npt.ArrayLike, pixels_mhwc: npt.NDArray[np.uint8]) -> bytes:
    """Return sha256(rows int64 LE ‖ labels int64 LE ‖ pixels uint8) of what a leaf consumed, 32 bytes.

    Of another task than single-label, labels are uint8 marks or float64 LE numbers.
    """
    digest = sha256(np.ascontiguousarray(rows_m, dtype="<i8").data)
    labels = np.asarray(labels_m)
    kind = labels.dtype if labels.ndim > 1 else np.dtype("<i8")
    digest.update(np.ascontiguousarray(labels, dtype=kind.newbyteorder("<")).data)
    assert pixels_mhwc.dtype == np.uint8
    digest.update(np.ascontiguousarray(pixels_mhwc).data)
    return digest.digest()


def next_chain(chain: bytes, step: int, leaf_digests: Iterable[bytes]) -> bytes:
    """Return sha256(chain ‖ step as 8 bytes LE ‖ leaf digests in leaf order)."""
    digest = sha256(chain)
    digest.update(step.to_bytes(8, "little"))
    for leaf in leaf_digests:
        digest.update(leaf)
    return digest.digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerPart:
    """Ledger of one worker since the last checkpoint; picklable, gathered to rank 0."""

    leaves: dict[tuple[int, int], tuple[Int64, bytes]]
    """(step, leaf) -> rows (m,) and leaf digest."""
    steps: dict[int, tuple[float, Int64]]
    """step -> loss and witness (T,); the same on every worker."""


@dataclass(kw_only=True, slots=True)
class LedgerBuffer:
    """Collects the ledger of one worker between checkpoints."""

    leaves: dict[tuple[int, int], tuple[Int64, bytes]] = field(default_factory=dict)
    steps: dict[int, tuple[float, Int64]] = field(default_factory=dict)

    def add_leaf(self, step: int, leaf: int, *, rows_m: npt.ArrayLike, digest: bytes) -> None:
        """Add the rows of a leaf and the digest of what it consumed."""
        assert (step, leaf) not in self.leaves, f"leaf {leaf} of step {step} was consumed twice"
        self.leaves[step, leaf] = (np.array(rows_m, dtype=np.int64), digest)

    def add_step(self, step: int, *, loss: float, witness: npt.ArrayLike) -> None:
        """Add loss and witness after the optimizer step."""
        self.steps[step] = (float(loss), np.array(witness, dtype=np.int64))

    def drain(self) -> LedgerPart:
        """Return the collected part and clear the buffer."""
        taken = LedgerPart(leaves=self.leaves, steps=self.steps)
        self.leaves, self.steps = {}, {}
        return taken


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerSegment:
    """Steps [first, stop) of the ledger."""

    first: int
    chain_before: bytes
    rows: Int64
    """Shape (S, L, m)."""
    digests: npt.NDArray[np.uint8]
    """Leaf digests, shape (S, L, 32)."""
    loss: npt.NDArray[np.float64]
    """Shape (S,)."""
    witness: Int64
    """Shape (S, T)."""

    @property
    def stop(self) -> int:
        """Return the first step after the segment."""
        return self.first + len(self.rows)

    def chains(self) -> list[bytes]:
        """Return the chain after each step of the segment."""
        chain, chains = self.chain_before, []
        for offset, leaves in enumerate(self.digests):
            chain = next_chain(chain, self.first + offset, (leaf.tobytes() for leaf in leaves))
            chains.append(chain)
        return chains

    @property
    def chain(self) -> bytes:
        """Return the chain after the last step."""
        return self.chains()[-1]

    @property
    def path(self) -> str:
        """Return where the segment lies in the run folder."""
        return f"ledger/{self.first}-{self.stop}-{self.chain.hex()[:16]}.safetensors"

    def to_bytes(self) -> bytes:
        """Return the segment as stored, with a checksum over all of it."""
        arrays = self._arrays()
        return serialize({**arrays, "checksum": _checksum(arrays)})

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "first": np.array([self.first], dtype=np.int64),
            "chain_before": np.frombuffer(self.chain_before, dtype=np.uint8),
            "rows": self.rows,
            "digests": self.digests,
            "loss": self.loss,
            "witness": self.witness,
        }


def join_ledger_parts(
    parts: Iterable[LedgerPart], *, first: int, leaves: int, chain_before: bytes
) -> LedgerSegment:
    """Join the parts of all workers to one segment from step `first` on.

    Every (step, leaf) must be there once; an assertion names one that is missing or doubled.
    """
    parts = list(parts)
    consumed: dict[tuple[int, int], tuple[Int64, bytes]] = {}
    for part in parts:
        doubled = consumed.keys() & part.leaves.keys()
        assert not doubled, f"(step, leaf) consumed by two workers: {sorted(doubled)[:3]}"
        consumed.update(part.leaves)
    steps = _steps_of(parts, first)
    missing = [place for s in steps for leaf in range(leaves) if (place := (s, leaf)) not in consumed]
    assert not missing, f"(step, leaf) consumed by no worker: {missing[:3]}"
    assert len(consumed) == len(steps) * leaves, "leaves beyond the segment"
    cells = [[consumed[s, leaf] for leaf in range(leaves)] for s in steps]
    return LedgerSegment(
        first=first,
        chain_before=chain_before,
        rows=np.array([[rows for rows, _ in row] for row in cells], dtype=np.int64),
        digests=np.array(
            [[np.frombuffer(digest, dtype=np.uint8) for _, digest in row] for row in cells], dtype=np.uint8
        ),
        loss=np.array([loss for loss, _ in steps.values()], dtype=np.float64),
        witness=np.array([witness for _, witness in steps.values()], dtype=np.int64),
    )


def save_segment(folder: RunFolder, segment: LedgerSegment) -> None:
    """Store a segment; it is written before the checkpoint record that names its chain."""
    folder.publish(segment.path, segment.to_bytes(), valid=is_segment)


def segments_from(folder: RunFolder, first: int) -> list[str]:
    """Return the paths of the segments that begin at step `first` or later."""
    matches = (_NAME.fullmatch(path) for path in folder.objects.list("ledger"))
    return [match.string for match in matches if match and int(match["first"]) >= first]


def parse_segment(data: bytes) -> LedgerSegment:
    """Return the segment of stored bytes; ValueError where they are damaged."""
    arrays = deserialize(data)
    checksum = arrays.pop("checksum", np.zeros(0))
    if checksum.tobytes() != _checksum(arrays).tobytes():
        raise ValueError("its checksum does not match")
    return LedgerSegment(
        first=int(arrays["first"][0]),
        chain_before=arrays["chain_before"].tobytes(),
        rows=arrays["rows"],
        digests=arrays["digests"],
        loss=arrays["loss"],
        witness=arrays["witness"],
    )


def is_segment(data: bytes) -> bool:
    """Say whether bytes are a segment without damage."""
    try:
        parse_segment(data)
    except (ValueError, KeyError):
        return False
    return True


def _steps_of(parts: list[LedgerPart], first: int) -> dict[int, tuple[float, Int64]]:
    """Return step -> (loss, witness), ascending; all workers that noted a step must agree bit for bit."""
    steps: dict[int, tuple[float, Int64]] = {}
    for part in parts:
        for step, (loss, witness) in part.steps.items():
            seen = steps.setdefault(step, (loss, witness))
            same = np.float64(seen[0]).tobytes() == np.float64(loss).tobytes() and np.array_equal(
                seen[1], witness
            )
            assert same, f"workers disagree on loss or weights after step {step}"
    assert sorted(steps) == list(range(first, first + len(steps))), "steps are missing"
    assert steps, "a segment has at least one step"
    return dict(sorted(steps.items()))


def _checksum(arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(sha256(serialize(arrays)).digest(), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerStep:
    """One step of the ledger; shapes (L, m), (L, 32), (), (T,)."""

    step: int
    rows: Int64
    leaf_digests: tuple[bytes, ...]
    loss: float
    witness: Int64
    chain: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerReader:
    """Reads the ledger of a run from the segments that verify and link to each other."""

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

    def witnesses(self, completed: int, *, chain: bytes) -> Iterator[tuple[str, Int64]]:
        """Yield path and witness (T,) after `completed` steps of each segment whose chain there is `chain`.

        Reads the segments of that step alone; those that do not verify are left out.
        """
        for first, stop, path in self._names():
            segment = self._intact(path)[1] if first < completed <= stop else None
            if segment is not None and segment.chains()[completed - 1 - first] == chain:
                yield path, segment.witness[completed - 1 - first]

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
        problem, segment = self._intact(path)
        if segment is None:
            return problem, None
        before = [segment.chain_before, *segment.chains()][step - segment.first]
        return ("", segment) if before == chain else ("it does not link to the steps before", None)

    def _intact(self, path: str) -> tuple[str, LedgerSegment | None]:
        """Return a segment whose contents match its checksum and its name, or what is wrong with it."""
        try:
            segment = parse_segment(self.folder.objects.read(path, LEDGER_SEGMENT))
        except (ValueError, KeyError, FileNotFoundError) as error:
            return str(error), None
        return ("", segment) if segment.path == path else ("its contents are not what its name says", None)


def _step_of(segment: LedgerSegment, offset: int, chain: bytes) -> LedgerStep:
    return LedgerStep(
        step=segment.first + offset,
        rows=segment.rows[offset],
        leaf_digests=tuple(leaf.tobytes() for leaf in segment.digests[offset]),
        loss=float(segment.loss[offset]),
        witness=segment.witness[offset],
        chain=chain,
    )
