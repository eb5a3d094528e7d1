"""The state of a run on one worker, and what is done between steps: resume, note, evaluate, keep, finish.

Rank 0 alone writes; what it writes is a function of the run identity.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.arithmetic.evaluation_counts import Metrics
from seedbed.arithmetic.learning_rate import learning_rates
from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.augmentation.transform_pipeline import output_size
from seedbed.runs.attempt_claims import highest_attempt
from seedbed.runs.checkpoint_store import (
    CheckpointRecord,
    checkpoint_record,
    latest_checkpoint,
    load_checkpoint,
    prune,
    save_checkpoint,
)
from seedbed.runs.evaluation_records import Evaluation, read_evaluations, save_evaluation
from seedbed.runs.ledger import CHAIN_START, LedgerPart, save_segment, segment_of
from seedbed.runs.model_files import model_config, save_model
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.runs.tensor_blobs import Array, to_torch
from seedbed.runs.trajectory_index import forget_state, note_state
from seedbed.storage import Storage, open_storage
from seedbed.training.distributed_evaluation import evaluate_split
from seedbed.training.driver_link import DriverLink
from seedbed.training.early_stopping import Score, best_score
from seedbed.training.evaluation_scores import document_of, metrics_of, scores_of
from seedbed.training.export_check import require_loadable
from seedbed.training.prefix_reuse import adopt_prefix
from seedbed.training.rank_agreement import account_of, require_agreement
from seedbed.training.replica_builder import build_replica, require_determinism
from seedbed.training.run_progress import Phase, RunProgress, SavedCheckpoint
from seedbed.training.step_loop import Walk
from seedbed.training.step_schedule import RemainingWork
from seedbed.training.step_timing import Stopwatch, TimedExchange
from seedbed.training.training_result import TrainingResult, save_training_result
from seedbed.training.worker_config import STORAGE_PATIENCE_SECONDS, WorkerConfig
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import InfrastructureError
from seedbed_api.run_identity import trajectory_id

WITNESS = "witness.json"
"""Names of the tensors in the order of the ledger's witness: with them `diff` needs no model code."""


@dataclass(kw_only=True, slots=True)
class RunState(Walk):
    """One worker's replica, ledger and records."""

    folder: RunFolder
    resumed_from: int = 0
    agreed: int = 0
    """Milestone at which all workers were last seen to hold the same."""
    kept: int = 0
    """Milestone of the newest checkpoint."""
    chain: bytes = CHAIN_START
    """Ledger chain at `kept`; known to rank 0."""
    evaluations: list[Evaluation] = field(default_factory=list)
    leaves_by_worker: tuple[int, ...] = ()
    """Leaves that each worker computed up to `kept`; known to rank 0."""
    newest: SavedCheckpoint | None = None
    """The newest checkpoint of this group; known to rank 0."""
    named: bool = False
    """Whether the names of the witness are known to be stored."""
    validated: tuple[Evaluation, Metrics] | None = None
    """The newest validation and its figures, which are asked for after each step."""

    @property
    def writes(self) -> bool:
        """Say whether this worker writes the run folder."""
        return self.exchange.rank == 0

    def resume(self) -> None:
        """Take the newest checkpoint that verifies; rank 0 chooses, so that all take the same."""
        found = self._newest() if self.writes else None
        step = pickle.loads(self.exchange.broadcast_bytes(pickle.dumps(found and found[0].step)))
        if step is None:
            return
        record, tensors = found or load_checkpoint(self.folder, step)
        self.replica.load(to_torch(tensors))
        self.completed = self.resumed_from = self.kept = record.step
        self.chain = bytes.fromhex(record.ledger_chain)
        self.evaluations = read_evaluations(self.folder, split="validation", up_to=record.step)

    def _newest(self) -> tuple[CheckpointRecord, dict[str, Array]] | None:
        """Return the newest checkpoint; without an own one, that of another run on the same trajectory."""
        found = latest_checkpoint(self.folder)
        if found is not None or adopt_prefix(self.program, self.folder, self.trajectory) is None:
            return found
        self._name_witness()
        return latest_checkpoint(self.folder)

    def scores(self) -> list[Score]:
        """Return the exact values of the watched metric so far."""
        return scores_of(self.evaluations, self.program.watched[0])

    def evaluate(self, split: str = "validation") -> None:
        """Evaluate the present weights; the record is stored before the next step."""
        with self.watch.part("evaluation"):
            self._require_agreement()
            counts = evaluate_split(self.program, self.replica, self.exchange, split=split)
            if counts.samples == 0:
                return
            document = document_of(counts, weights_digest=weights_digest(self.replica.named_weights()))
            self.evaluations.append(self._stored(split, document))

    def _stored(self, split: str, document: dict[str, object]) -> Evaluation:
        if self.writes:
            return save_evaluation(self.folder, split=split, step=self.completed, document=document)
        return Evaluation(split=split, step=self.completed, document=document, digest="")

    def checkpoint(self) -> None:
        """Keep the state: ledger segment and blobs first, the record last, then prune."""
        if self.kept == self.completed:
            return
        require_determinism(self.program.model)
        with self.watch.part("checkpoint"):
            self._require_agreement()
            gathered = self.exchange.gather_bytes(pickle.dumps(self.ledger.drain()))
            if self.writes:
                self._refuse_if_superseded()
                self._keep([pickle.loads(part) for part in gathered])
            self.kept = self.completed
            self.exchange.barrier()

    def _require_agreement(self) -> None:
        if self.exchange.world > 1 and self.agreed < self.completed:
            names = list(self.replica.named_weights())
            account = account_of(self.replica, self.ledger.steps)
            require_agreement(self.program, self.exchange, account, witness=names)
            self.agreed = self.completed

    def _keep(self, parts: list[LedgerPart]) -> None:
        counted = self.leaves_by_worker or (0,) * len(parts)
        self.leaves_by_worker = tuple(n + len(part.leaves) for n, part in zip(counted, parts, strict=True))
        segment = segment_of(
            parts,
            first=self.kept,
            leaves=self.program.arithmetic.leaves,
            chain_before=self.chain,
        )
        self._name_witness()
        save_segment(self.folder, segment)
        self.chain = segment.chain
        tensors = self.replica.named_state()
        record = self._record(tensors)
        save_checkpoint(self.folder, record, tensors)
        self.newest = SavedCheckpoint(step=record.step, digest=digest_of(record.to_bytes()), time=time.time())
        self._refuse_if_superseded()
        self._index(record)
        self._prune()

    def _index(self, record: CheckpointRecord) -> None:
        note_state(
            self.folder,
            beginning=self.trajectory(1),
            trajectory_id=record.trajectory_id,
            step=record.step,
        )

    def _prune(self) -> None:
        keep, protect = self.program.keep_checkpoints, self._protected()
        for step in prune(self.folder, keep=keep, protect=protect, newest=self.completed):
            trajectory = self.trajectory(step)
            forget_state(self.folder, beginning=self.trajectory(1), trajectory_id=trajectory, step=step)

    def _name_witness(self) -> None:
        if not self.named:
            self.folder.publish(WITNESS, canonical_json({"tensors": list(self.replica.named_weights())}))
            self.named = True

    def _record(self, tensors: Mapping[str, object]) -> CheckpointRecord:
        return checkpoint_record(
            tensors,
            run_id=self.program.run_id,
            trajectory_id=self.trajectory(self.completed),
            step=self.completed,
            ledger_chain=self.chain,
            evaluations=self.evaluations,
        )

    def _protected(self) -> list[int]:
        scores = self.scores()
        return [self._best(scores)] if self.program.select_best and scores else []

    def trajectory(self, completed: int) -> str:
        """Return the identity of the state after `completed` steps."""
        program = self.program
        total = program.milestones.total_steps
        rates = learning_rates(program.arithmetic.learning_rate, completed, total)
        return trajectory_id(
            dict(program.resolved),
            arithmetic_version=ARITHMETIC_VERSION,
            environment_class=program.environment_class,
            learning_rates=rates,
        )

    def finish(self) -> None:
        """Select the weights, evaluate them on test rows, write model files and outcome."""
        selected = self._best(self.scores()) if self.program.select_best else self.completed
        if selected != self.completed:
            _, tensors = load_checkpoint(self.folder, selected)
            self.replica.load(to_torch(tensors))
        self.evaluate("test")
        if self.writes:
            self._refuse_if_superseded()
            self._write_model(selected)
        self.exchange.barrier()

    def _write_model(self, selected: int) -> None:
        require_loadable(self.program, self.replica.named_weights())
        files = save_model(self.folder, self.replica.named_weights(), config_of(self.program))
        save_training_result(
            self.folder,
            TrainingResult(
                step=self.completed,
                total_steps=self.program.milestones.total_steps,
                selected_step=selected,
                weights_digest=files.weights_digest,
                files=files.files,
                ledger_chain=self.chain.hex(),
                trajectory_id=self.trajectory(selected),
            ),
        )

    def tell(self, link: DriverLink, *, phase: Phase) -> None:
        """Tell the driver how far the run is; rank 0 speaks for all."""
        if self.writes:
            link.tell(self._progress(phase))

    def _progress(self, phase: Phase) -> RunProgress:
        program = self.program
        rows = program.arithmetic.leaves * program.arithmetic.leaf_rows
        pace = self.watch.pace.steps_per_second
        figures = self._figures()
        return RunProgress(
            step=self.completed,
            total_steps=program.milestones.total_steps,
            epoch=_epoch(program, self.completed),
            epochs=program.stream.epochs,
            loss=self.last.loss if self.last else None,
            accuracy=figures.accuracy if figures else None,
            validation_loss=figures.loss if figures else None,
            images_per_second=None if pace is None else pace * rows,
            seconds_left=self.watch.seconds_left(self._ahead()),
            workers=self.exchange.world,
            phase=phase,
            attempt=program.attempt,
            resumed_from=self.resumed_from,
            leaves_by_worker=self.leaves_by_worker,
            kept=self.newest,
            seconds=self.watch.seconds(),
            moments=self.watch.moments,
        )

    def _figures(self) -> Metrics | None:
        """Return the figures of the newest validation; None before the first."""
        newest = next((record for record in reversed(self.evaluations) if record.split == "validation"), None)
        if newest is None:
            return None
        if self.validated is None or self.validated[0] is not newest:
            self.validated = newest, metrics_of(newest.document)
        return self.validated[1]

    def _ahead(self) -> RemainingWork:
        evaluated = any(record.step == self.completed for record in self.evaluations[-1:])
        kept = self.kept == self.completed
        return self.program.milestones.ahead(self.completed, evaluated=evaluated, kept=kept)

    def _best(self, scores: list[Score]) -> int:
        return best_score(scores, maximize=self.program.watched[1]).completed

    def _refuse_if_superseded(self) -> None:
        newest = highest_attempt(self.folder)
        if newest > self.program.attempt:
            message = f"{self.folder.url}: attempt {self.program.attempt} was taken over by attempt {newest}"
            raise InfrastructureError("Superseded", message)


def _epoch(program: WorkerConfig, completed: int) -> int:
    """Return the epoch in progress, from 1; the rows that fill the last step belong to no further one."""
    begun = completed * program.stream.leaves * program.stream.leaf_rows // program.samples + 1
    return begun if program.stream.epochs is None else min(begun, program.stream.epochs)


def open_state(program: WorkerConfig, *, exchange: Exchange) -> RunState:
    """Return the state before the first step, with first weights."""
    watch = Stopwatch()
    return RunState(
        program=program,
        exchange=TimedExchange(exchange, watch),
        folder=open_run(_output(program), program.run_id),
        replica=build_replica(program.model, program.arithmetic, device=program.device),
        watch=watch,
    )


def _output(program: WorkerConfig) -> Storage:
    return open_storage(
        program.output_url, secret=program.output_secret, retry_seconds=STORAGE_PATIENCE_SECONDS
    )


def config_of(program: WorkerConfig) -> dict[str, object]:
    """Return the config that goes with the model file."""
    size = output_size(program.stream.transforms)
    assert size is not None, "every recipe has one transform that sets the size"
    normalization = program.resolved["training"]["normalization"]
    return model_config(
        name=program.model.name,
        entrypoint=program.model.entrypoint,
        arguments=program.model.args,
        classes=list(program.classes),
        image_size=size,
        mean=normalization["mean"],
        std=normalization["std"],
    )
