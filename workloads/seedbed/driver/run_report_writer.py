"""Writing `report.html` at the end of a run; the run is complete without it.

The driver of pods has trained nothing itself: its process is set up here like that of a worker.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.dataset.file_format import SPLITS
from seedbed.driver.resolve_run import ResolvedRun
from seedbed.environment.environment_pins import pinned_threads
from seedbed.feed import open_evaluation
from seedbed.report.report_loader import ReportContext, load_report_inputs
from seedbed.report.run_report import build_report
from seedbed.report.run_report_data import SamplePrediction
from seedbed.report.sample_predictions import sample_predictions
from seedbed.runs.model_files import read_model
from seedbed.runs.result_file import Result
from seedbed.runs.run_folder import REPORT
from seedbed.training.error_attribution import attribute_errors
from seedbed.training.replica_builder import build_replica, load_weights
from seedbed.training.worker_config import WorkerConfig


def write_report(run: ResolvedRun, program: WorkerConfig, result: Result, *, created: str) -> str:
    """Write the report of a complete run and return its URL."""
    known = ReportContext(
        job=run.job.metadata.name,
        state="Trained",
        created=created,
        model=program.model.name or program.model.entrypoint or "",
        schedule=program.arithmetic.learning_rate,
        total_steps=program.schedule.total_steps,
        classes=program.classes,
        dataset_uri=run.dataset.storage.url,
        dataset_digest=run.dataset.digest,
        rows_per_split={split: run.dataset.manifest.rows(split) for split in SPLITS},
        digests={
            "Weights": result.outcome.weights_digest,
            "Receipt": result.receipt_digest,
            "Ledger chain": f"sha256:{result.outcome.ledger_chain}",
        },
        samples=_samples(run, program),
        rows_per_step=program.arithmetic.leaves * program.arithmetic.leaf_rows,
    )
    page = build_report(load_report_inputs(run.folder, known))
    run.folder.objects.put(REPORT, page.encode())
    return f"{run.folder.url}/{REPORT}"


def _samples(run: ResolvedRun, program: WorkerConfig) -> list[SamplePrediction]:
    enforce_determinism(threads=pinned_threads())
    with attribute_errors(program):
        return _predict(run, program)


def _predict(run: ResolvedRun, program: WorkerConfig) -> list[SamplePrediction]:
    device = program.device if torch.cuda.is_available() else "cpu"  # GPUs are in the pods of workers
    source = replace(program.model, weights=None)  # the weights of the run are loaded instead
    replica = build_replica(source, program.arithmetic, device=device)
    load_weights(replica, read_model(run.folder))
    split = "test" if run.dataset.view(split="test").count else "validation"
    alone = SingleProcessExchange()
    with open_evaluation(
        program.stream, split, rank=alone.rank, world=alone.world, batch_rows=program.evaluation_rows
    ) as batches:
        return sample_predictions(replica, batches, classes=program.classes)
