"""Writing `report.html` at the end of a run; the run is complete without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

from seedbed.arithmetic.exchange import SingleProcess
from seedbed.dataset.format import SPLITS
from seedbed.feed import open_evaluation
from seedbed.report.gathering import Known, gather
from seedbed.report.inputs import SamplePrediction, TimeSpent
from seedbed.report.rendering import build_report
from seedbed.report.sampling import sample_predictions
from seedbed.runs.folder import REPORT
from seedbed.runs.model_files import read_model
from seedbed.runtime.preparing import Prepared
from seedbed.runtime.results import Result
from seedbed.training.building import build_replica, load_weights
from seedbed.training.programs import TrainingProgram
from seedbed.training.progress import PartSeconds

START_UP = (
    "ProgramLoaded",
    "DatasetOpened",
    "EnvironmentProbed",
    "RunClaimed",
    "ModelChecked",
    "RayStarted",
    "WorkersStarted",
    "FirstBatch",
    "FirstStep",
)


def write_report(
    prepared: Prepared, program: TrainingProgram, result: Result, *, created: str, time_spent: TimeSpent
) -> str:
    """Write the report of a complete run and return its URL."""
    known = Known(
        job=prepared.job.metadata.name,
        state="Trained",
        created=created,
        model=program.model.name or program.model.entrypoint or "",
        schedule=program.arithmetic.learning_rate,
        total_steps=program.milestones.total_steps,
        classes=program.classes,
        dataset_uri=prepared.dataset.storage.url,
        dataset_digest=prepared.dataset.digest,
        rows_per_split={split: prepared.dataset.manifest.rows(split) for split in SPLITS},
        digests={
            "Weights": result.outcome.weights_digest,
            "Receipt": result.receipt_digest,
            "Ledger chain": f"sha256:{result.outcome.ledger_chain}",
        },
        samples=_samples(prepared, program),
        time_spent=time_spent,
    )
    page = build_report(gather(prepared.folder, known))
    prepared.folder.objects.put(REPORT, page.encode())
    return f"{prepared.folder.url}/{REPORT}"


def _samples(prepared: Prepared, program: TrainingProgram) -> list[SamplePrediction]:
    replica = build_replica(program.model, program.arithmetic, device=program.device)
    load_weights(replica, read_model(prepared.folder))
    split = "test" if prepared.dataset.view(split="test").count else "validation"
    alone = SingleProcess()
    with open_evaluation(
        program.stream, split, rank=alone.rank, world=alone.world, batch_rows=program.evaluation_rows
    ) as batches:
        return sample_predictions(replica, batches, classes=program.classes)


def time_spent(timings: Mapping[str, float], groups: Iterable[PartSeconds]) -> TimeSpent:
    """Return where the seconds of this call went, over all its worker groups."""
    sums = {part.name: 0.0 for part in fields(PartSeconds)}
    for group in groups:
        for name in sums:
            sums[name] += getattr(group, name)
    return TimeSpent(
        start_up=sum(timings.get(part, 0.0) for part in START_UP),
        data=sums["data"],
        compute=sums["compute"],
        exchange=sums["reduce"],
        evaluation=sums["evaluation"],
        checkpoint=sums["checkpoint"],
    )
