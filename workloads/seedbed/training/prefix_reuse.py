"""Reuse of a prefix: a run without a checkpoint starts from a state that another run has computed.

Takes the longest common prefix of their trajectories. Copies what the run would have stored itself: ledger,
evaluations that its recipe asks for, checkpoints. A run that lacks any of these cannot be used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice

import numpy as np

from seedbed.runs.checkpoint_store import (
    CheckpointRecord,
    DamagedCheckpoint,
    load_checkpoint,
    save_checkpoint,
)
from seedbed.runs.checkpoint_witness import require_witnessed
from seedbed.runs.evaluation_records import Evaluation, evaluations_digest, read_evaluations, save_evaluation
from seedbed.runs.ledger import CHAIN_START, LedgerReader, LedgerSegment, LedgerStep, save_segment
from seedbed.runs.run_folder import RunFolder
from seedbed.runs.trajectory_index import checkpoints_of_others, run_of_checkpoint
from seedbed.training.early_stopping import best_score, should_stop
from seedbed.training.evaluation_metrics import scores_of
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError

logger = logging.getLogger(__name__)

_STEPS_OF_A_SEGMENT = 1000
_SKIPPED = {"RunFolderDamaged", "LedgerDamaged"}


class _UnusableError(Exception):
    """The other run lacks an object that this run would have stored; the message names it."""


def adopt_prefix(config: WorkerConfig, folder: RunFolder, names: Sequence[str]) -> int | None:
    """Copy the longest prefix that another run has; return its steps, None if there is none.

    `names` are the witnessed tensors in the order of the ledger's witness.
    """
    beginning, total = config.trajectory_id(1), config.schedule.total_steps
    for found in checkpoints_of_others(folder, beginning=beginning, up_to=total):
        if found.trajectory_id != config.trajectory_id(found.step):
            continue
        source = run_of_checkpoint(folder, found)
        try:
            _adopt(config, source, folder, found.step, names)
        except (_UnusableError, DamagedCheckpoint) as reason:
            logger.info("%s up to step %d cannot be reused: %s", source.url, found.step, reason)
        except InfrastructureError as error:
            if error.reason not in _SKIPPED:
                raise
            logger.info("%s up to step %d cannot be reused: %s", source.url, found.step, error.message)
        else:
            return found.step
    return None


def _adopt(
    config: WorkerConfig, source: RunFolder, folder: RunFolder, step: int, names: Sequence[str]
) -> None:
    """Copy everything up to a step, checkpoint records last; after a kill the run itself fills gaps."""
    evaluations = _evaluations(config, source, step)
    states = [load_checkpoint(source, number) for number in _needed(config, evaluations, step)]
    for record, tensors in states:
        if record.trajectory_id != config.trajectory_id(record.step):
            raise _UnusableError(f"its checkpoint of step {record.step} is of another trajectory")
        require_witnessed(source, record, tensors, names=names)
    if _copy_ledger(source, folder, step).hex() != states[-1][0].ledger_chain:
        raise _UnusableError("its ledger is not that of its checkpoint")
    for evaluation in evaluations:
        save_evaluation(folder, split=evaluation.split, step=evaluation.step, document=evaluation.document)
    for record, tensors in states:
        save_checkpoint(folder, _own(record, folder, evaluations), tensors)


def _own(record: CheckpointRecord, folder: RunFolder, evaluations: Sequence[Evaluation]) -> CheckpointRecord:
    """Return the record as this run writes it: its own identity and its own evaluations."""
    return CheckpointRecord(
        run_id=folder.run_id,
        trajectory_id=record.trajectory_id,
        step=record.step,
        tensors=record.tensors,
        weights_digest=record.weights_digest,
        blobs=record.blobs,
        ledger_chain=record.ledger_chain,
        evaluations_digest=evaluations_digest(evaluations, up_to=record.step),
    )


def _evaluations(config: WorkerConfig, source: RunFolder, step: int) -> list[Evaluation]:
    """Return the records that this recipe asks for. Raises _UnusableError if one is missing or ends it."""
    there = {each.step: each for each in read_evaluations(source, split="validation", up_to=step)}
    own: list[Evaluation] = []
    for milestone in config.schedule.evaluations_until(step):
        if milestone not in there:
            raise _UnusableError(f"it has no evaluation after step {milestone}")
        if there[milestone].document.get("topK") != config.arithmetic.top_k:
            raise _UnusableError("its evaluations count another top k")
        own.append(there[milestone])
        if milestone < step and _stops(config, own):
            raise _UnusableError(f"this run ends after step {milestone}")
    return own


def _stops(config: WorkerConfig, evaluations: Sequence[Evaluation]) -> bool:
    rule = config.early_stopping
    return rule is not None and should_stop(rule, scores_of(evaluations, rule.metric))


def _needed(config: WorkerConfig, evaluations: Sequence[Evaluation], step: int) -> list[int]:
    """Return the steps of the checkpoints that this run would have: the best so far, and the newest."""
    if not config.select_best or not evaluations:
        return [step]
    metric, maximize = config.selection_metric
    best = best_score(scores_of(evaluations, metric), maximize=maximize).completed
    return sorted({best, step})


def _copy_ledger(source: RunFolder, folder: RunFolder, step: int) -> bytes:
    """Copy the ledger up to a step, some steps at a time; return its chain."""
    chain, steps = CHAIN_START, LedgerReader(folder=source).steps(stop=step)
    while part := list(islice(steps, _STEPS_OF_A_SEGMENT)):
        segment = _segment(part, chain)
        save_segment(folder, segment)
        chain = segment.chain
    return chain


def _segment(steps: Sequence[LedgerStep], chain: bytes) -> LedgerSegment:
    digests = [[np.frombuffer(leaf, dtype=np.uint8) for leaf in each.leaf_digests] for each in steps]
    return LedgerSegment(
        first=steps[0].step,
        chain_before=chain,
        rows=np.array([each.rows for each in steps], dtype=np.int64),
        digests=np.array(digests, dtype=np.uint8),
        loss=np.array([each.loss for each in steps], dtype=np.float64),
        witness=np.array([each.witness for each in steps], dtype=np.int64),
    )
