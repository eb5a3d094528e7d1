"""Compare recomputed steps with the receipt, ledger, checkpoints and evaluation records of the run."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from seedbed.arithmetic.model_replica import Replica
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.arithmetic.witness_checksums import witness_sums
from seedbed.receipts import Decided
from seedbed.replay.run_differences import (
    Difference,
    checkpoint_difference,
    evaluation_difference,
    step_difference,
    tensor_name,
)
from seedbed.replay.stored_ledger import StoredLedger, stored_ledger
from seedbed.runs import (
    CHAIN_START,
    Evaluation,
    LedgerPart,
    LedgerStep,
    RunFolder,
    checkpoint_steps,
    read_evaluations,
    read_record,
)
from seedbed.runs.ledger import join_ledger_parts
from seedbed.runs.model_files import CONFIG, WEIGHTS
from seedbed.runs.tensor_serialization import describe_tensors, serialize
from seedbed.training.exported_config import model_config_document
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.canonical_json import canonical_json
from seedbed_api.metric_values import reported_metrics
from seedbed_api.trainingjob_status import format_measurement

LABELS = ("stored", "recomputed")


class ReceiptComparison:
    """Compares recomputed steps with the stored objects of a run; methods return the first difference."""

    def __init__(
        self, *, program: WorkerConfig, decided: Decided, folder: RunFolder | None, names: Sequence[str]
    ) -> None:
        self.program = program
        self.decided = decided
        self.folder = folder
        self.names = names
        self.chain = CHAIN_START
        self.ledger: StoredLedger | None = None if folder is None else stored_ledger(folder)
        self.stored_checkpoints = frozenset() if folder is None else frozenset(checkpoint_steps(folder))
        self.weights = dict(decided.checkpoints)
        records = [] if folder is None else read_evaluations(folder)
        self.records = {(record.split, record.step): record for record in records}
        self.compared: list[str] = []
        """Names of the stored objects with which the current state was compared."""

    def loaded(self, replica: Replica, completed: int) -> Difference | None:
        """Compare the weights of a checkpoint with the ledger's witness of the step before."""
        entry = None if self.ledger is None else self.ledger.step(completed - 1)
        if entry is None:
            return None
        ours = witness_sums(list(replica.witnessed().values())).cpu().tolist()
        for index, (mine, theirs) in enumerate(zip(ours, entry.witness.tolist(), strict=True)):
            if mine != theirs:
                name = tensor_name(index, len(ours), self.names)
                text = f"tensor {name} of the checkpoint is not the one that the ledger witnessed"
                return Difference(kind="tensor", step=completed, subject=name, text=text)
        return None

    def step(self, parts: Sequence[LedgerPart], *, completed: int) -> Difference | None:
        """Compare rows, pictures, loss and weights of a step with the ledger."""
        self.compared = []
        segment = join_ledger_parts(
            parts, first=completed - 1, leaves=self.decided.leaves, chain_before=self.chain
        )
        self.chain = segment.chain
        theirs = None if self.ledger is None else self.ledger.step(completed - 1)
        if theirs is None:
            return None
        self.compared.append("ledger")
        ours = LedgerStep(
            step=completed - 1,
            rows=segment.rows[0],
            leaf_digests=tuple(leaf.tobytes() for leaf in segment.digests[0]),
            loss=float(segment.loss[0]),
            witness=segment.witness[0],
            chain=self.chain,
        )
        return step_difference(theirs, ours, names=self.names, labels=LABELS)

    def checkpoint(self, replica: Replica, completed: int) -> Difference | None:
        """Compare the state with a stored checkpoint, tensor by tensor, and with the receipt."""
        if self.folder is not None and completed in self.stored_checkpoints:
            self.compared.append("checkpoint")
            record = read_record(self.folder, completed)
            ours = describe_tensors(replica.named_state())
            difference = checkpoint_difference(record.tensors, ours, step=completed)
            if difference is not None:
                return difference
        if completed not in self.weights:
            return None
        self.compared.append("receipt")
        mine, theirs = weights_digest(replica.model_weights()), self.weights[completed]
        text = f"weights {mine}, the receipt has {theirs}"
        return None if mine == theirs else _difference("weights", completed, "weights", text)

    def evaluation(self, record: Evaluation) -> Difference | None:
        """Compare an evaluation with the stored record."""
        stored = self.records.get((record.split, record.step))
        if stored is None:
            return None
        self.compared.append(f"{record.split} evaluation")
        return evaluation_difference(
            stored.document, record.document, split=record.split, step=record.step, labels=LABELS
        )

    def stop_rule(self, stops: bool | None, *, completed: int, end: int) -> Difference | None:
        """Compare the decision of the stop rule with the last step of the run."""
        over = completed == end and end < self.program.schedule.total_steps
        if stops is None or stops == over or completed == self.program.schedule.total_steps:
            return None
        text = "the stop rule ends training here" if stops else "the stop rule does not end training here"
        return _difference("stop", completed, "earlyStopping", f"{text}; the receipt's run had {end} steps")

    def ledger_end(self, end: int) -> Difference | None:
        """Compare the ledger chain over all consumed rows with the receipt."""
        ours, theirs = self.chain.hex(), self.decided.ledger_chain
        text = f"ledger chain {ours}, the receipt has {theirs}"
        return None if ours == theirs else _difference("ledger", end, "chain", text)

    def model(
        self, replica: Replica, *, selected: int, evaluations: Sequence[Evaluation]
    ) -> Difference | None:
        """Compare the selected weights, the model files and the metrics with the receipt."""
        weights = replica.model_weights()
        digest = weights_digest(weights)
        if digest != self.decided.weights_digest:
            text = f"the model's weights are {digest}, the receipt has {self.decided.weights_digest}"
            return _difference("weights", selected, "weights", text)
        files = {WEIGHTS: serialize(weights), CONFIG: canonical_json(model_config_document(self.program))}
        for path, theirs in sorted(self.decided.subjects.items()):
            if path in files and sha256(files[path]).hexdigest() != theirs:
                return _difference(
                    "model", selected, path, f"{path} would have another sha256 than in the receipt"
                )
        return self._figures(selected, evaluations)

    def _figures(self, selected: int, evaluations: Sequence[Evaluation]) -> Difference | None:
        end = max(self.weights)
        for record in evaluations:
            if record.step != (selected if record.split == "validation" else end):
                continue
            for name, value in reported_metrics(record.document).items():
                figure = f"{record.split}/{name}"
                ours, theirs = format_measurement(value), self.decided.metrics.get(figure)
                if theirs != ours:
                    return _difference(
                        "metrics", record.step, figure, f"{figure} is {ours}, the receipt has {theirs}"
                    )
        return None


def _difference(kind: str, step: int, subject: str, text: str) -> Difference:
    return Difference(kind=kind, step=step, subject=subject, text=text)
