"""The run folder: claims and leases, checkpoints, the ledger, evaluation records, events, model files.

Everything but attempts, events and the report is a function of the run identity, created once.
"""

from __future__ import annotations

from seedbed.runs.attempt_event_log import AttemptEventLog, read_events
from seedbed.runs.checkpoint_store import (
    CheckpointRecord,
    DamagedCheckpoint,
    checkpoint_record,
    checkpoint_steps,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    read_record,
    save_checkpoint,
)
from seedbed.runs.evaluation_records import Evaluation, evaluations_digest, read_evaluations, save_evaluation
from seedbed.runs.exactly_once import LedgerCoverage, check_exactly_once
from seedbed.runs.ledger import (
    CHAIN_START,
    LedgerBuffer,
    LedgerPart,
    LedgerReader,
    LedgerSegment,
    LedgerStep,
    join_ledger_parts,
    leaf_digest,
    next_chain,
    save_segment,
)
from seedbed.runs.model_files import ModelFiles, model_config, save_model
from seedbed.runs.run_folder import ENVIRONMENT, RECEIPT, RECIPE, REPORT, RESULT, RunFolder, open_run
from seedbed.runs.run_lease import RunLease, acquire_lease
from seedbed.runs.tensor_serialization import describe_tensors, to_torch, weights_digest

__all__ = [
    "CHAIN_START",
    "ENVIRONMENT",
    "RECEIPT",
    "RECIPE",
    "REPORT",
    "RESULT",
    "AttemptEventLog",
    "CheckpointRecord",
    "DamagedCheckpoint",
    "Evaluation",
    "LedgerBuffer",
    "LedgerCoverage",
    "LedgerPart",
    "LedgerReader",
    "LedgerSegment",
    "LedgerStep",
    "ModelFiles",
    "RunFolder",
    "RunLease",
    "acquire_lease",
    "check_exactly_once",
    "checkpoint_record",
    "checkpoint_steps",
    "describe_tensors",
    "evaluations_digest",
    "join_ledger_parts",
    "latest_checkpoint",
    "leaf_digest",
    "load_checkpoint",
    "model_config",
    "next_chain",
    "open_run",
    "prune_checkpoints",
    "read_evaluations",
    "read_events",
    "read_record",
    "save_checkpoint",
    "save_evaluation",
    "save_model",
    "save_segment",
    "to_torch",
    "weights_digest",
]
