"""Checkpoints of a run: load the newest, save the state with its ledger, prune old ones.

Rank 0 alone writes; what it writes is a function of the run identity.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from seedbed.runs.attempt_claims import require_newest_attempt
from seedbed.runs.checkpoint_store import (
    CheckpointRecord,
    checkpoint_record,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    record_path,
    save_checkpoint,
)
from seedbed.runs.checkpoint_witness import require_witnessed
from seedbed.runs.ledger import CHAIN_START, LedgerPart, join_ledger_parts, save_segment, segments_from
from seedbed.runs.ledger_exchange import ledger_part_bytes, parse_ledger_part
from seedbed.runs.run_folder import RunFolder
from seedbed.runs.tensor_serialization import Array, to_torch
from seedbed.runs.trajectory_index import add_checkpoint, remove_checkpoint
from seedbed.training.evaluator import Evaluator
from seedbed.training.prefix_reuse import adopt_prefix
from seedbed.training.rank_agreement import RankAgreement
from seedbed.training.replica_builder import require_determinism
from seedbed.training.run_progress import SavedCheckpoint
from seedbed.training.run_state import RunContext, RunState
from seedbed_api.canonical_json import canonical_json, digest_of

WITNESS = "witness.json"
"""Names of the tensors in the order of the ledger's witness: `seedbed diff` needs no model code."""


class Checkpointer:
    """Loads and saves the state of a run, and extends its stored ledger."""

    def __init__(
        self,
        context: RunContext,
        state: RunState,
        evaluator: Evaluator,
        agreement: RankAgreement,
        folder: RunFolder,
    ) -> None:
        self._context, self._state = context, state
        self._evaluator, self._agreement = evaluator, agreement
        self._folder = folder
        self._witness_stored = False
        self.loaded_step = 0
        """Completed steps of the checkpoint that this worker group began with."""
        self.saved_step = 0
        """Completed steps of the newest checkpoint."""
        self.saved: SavedCheckpoint | None = None
        """The newest checkpoint that this worker group wrote; known to rank 0."""
        self.chain = CHAIN_START
        """Ledger chain at `saved_step`; known to rank 0."""
        self.leaves_by_worker: tuple[int, ...] = ()
        """Leaves that each worker computed up to `saved_step`; known to rank 0."""

    @property
    def is_saved(self) -> bool:
        """Whether a checkpoint holds the present state."""
        return self.saved_step == self._state.completed

    def load_newest(self) -> None:
        """Load the newest intact checkpoint; rank 0 chooses, so that all workers load the same one."""
        context = self._context
        found = self._newest() if context.writes else None
        chosen = json.dumps(found and found[0].step).encode()
        step: int | None = json.loads(context.exchange.broadcast_bytes(chosen))
        if step is None:
            return
        record, tensors = found or load_checkpoint(self._folder, step)
        context.replica.load(to_torch(tensors))
        self._state.completed = self.loaded_step = self.saved_step = record.step
        self.chain = bytes.fromhex(record.ledger_chain)
        self._evaluator.load()

    def _newest(self) -> tuple[CheckpointRecord, dict[str, Array]] | None:
        """Return the run's newest checkpoint; if it has none, one of another run on the same trajectory."""
        forged: list[int] = []
        found = latest_checkpoint(self._folder, accept=self.require_witnessed, on_forged=forged.append)
        if forged:
            self._set_aside(forged, accepted=found[0].step if found else 0)
        names = self._witness_names()
        if found is not None or adopt_prefix(self._context.config, self._folder, names) is None:
            return found
        self._store_witness_names()
        return latest_checkpoint(self._folder, accept=self.require_witnessed)

    def require_witnessed(self, record: CheckpointRecord, tensors: Mapping[str, Array]) -> None:
        """Raise ForgedCheckpoint for tensors that are not those of the ledger."""
        require_witnessed(self._folder, record, tensors, names=self._witness_names())

    def _set_aside(self, forged: list[int], *, accepted: int) -> None:
        """Set forged checkpoints aside, and the ledger after the accepted one: both are computed again."""
        self.require_not_superseded()
        for step in forged:
            self._folder.set_aside(record_path(step))
        for path in segments_from(self._folder, accepted):
            self._folder.set_aside(path)

    def save(self) -> None:
        """Save the state unless it is saved: ledger segment and blobs first, the record last, then prune."""
        if self.is_saved:
            return
        context = self._context
        require_determinism(context.config.model)
        with context.stopwatch.part("checkpoint"):
            self._agreement.require()
            gathered = context.exchange.gather_bytes(ledger_part_bytes(self._state.ledger.drain()))
            if context.writes:
                self.require_not_superseded()
                self._save_ledger([parse_ledger_part(part) for part in gathered])
                self._save_state()
                self._prune()
            self.saved_step = self._state.completed
            context.exchange.barrier()

    def _save_ledger(self, parts: list[LedgerPart]) -> None:
        counted = self.leaves_by_worker or (0,) * len(parts)
        self.leaves_by_worker = tuple(n + len(part.leaves) for n, part in zip(counted, parts, strict=True))
        leaves = self._context.config.arithmetic.leaves
        segment = join_ledger_parts(parts, first=self.saved_step, leaves=leaves, chain_before=self.chain)
        self._store_witness_names()
        save_segment(self._folder, segment)
        self.chain = segment.chain

    def _store_witness_names(self) -> None:
        if not self._witness_stored:
            self._folder.publish(WITNESS, canonical_json({"tensors": self._witness_names()}))
            self._witness_stored = True

    def _witness_names(self) -> list[str]:
        return list(self._context.replica.witnessed())

    def _save_state(self) -> None:
        tensors = self._context.replica.named_state()
        record = self._record(tensors)
        save_checkpoint(self._folder, record, tensors)
        self.saved = SavedCheckpoint(step=record.step, digest=digest_of(record.to_bytes()), time=time.time())
        self.require_not_superseded()
        beginning = self._context.config.trajectory_id(1)
        add_checkpoint(
            self._folder, beginning=beginning, trajectory_id=record.trajectory_id, step=record.step
        )

    def _record(self, tensors: Mapping[str, object]) -> CheckpointRecord:
        config, completed = self._context.config, self._state.completed
        return checkpoint_record(
            tensors,
            run_id=config.run_id,
            trajectory_id=config.trajectory_id(completed),
            step=completed,
            ledger_chain=self.chain,
            evaluations=self._evaluator.records,
        )

    def _prune(self) -> None:
        config = self._context.config
        best = self._evaluator.best_step() if config.select_best else None
        protect = [] if best is None else [best]
        keep, newest = config.keep_checkpoints, self._state.completed
        for step in prune_checkpoints(self._folder, keep=keep, protect=protect, newest=newest):
            beginning, trajectory = config.trajectory_id(1), config.trajectory_id(step)
            remove_checkpoint(self._folder, beginning=beginning, trajectory_id=trajectory, step=step)

    def require_not_superseded(self) -> None:
        """Raise InfrastructureError Superseded if a later attempt has claimed the run."""
        require_newest_attempt(self._folder, self._context.config.attempt)
