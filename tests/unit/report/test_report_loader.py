"""What a report is made of comes from the run folder: a real one, written through the run's own functions."""

import numpy as np
import pytest
import torch
from torch import nn

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.learning_rate import Cosine, LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.feed import EvaluationBatch
from seedbed.report import build_report, report_loader
from seedbed.report.report_loader import ReportContext, load_report_inputs
from seedbed.report.sample_predictions import sample_predictions
from seedbed.runs.attempt_claims import claim_attempt
from seedbed.runs.attempt_event_log import AttemptEventLog
from seedbed.runs.evaluation_records import save_evaluation
from seedbed.runs.ledger import LedgerBuffer, join_ledger_parts, save_segment
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage

SCHEDULE = LearningRate(base=0.1, warmup_steps=2, decay=Cosine())
KNOWN = ReportContext(job="digits", state="Trained", schedule=SCHEDULE, total_steps=10, classes=("a", "b"))


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return open_run(open_storage(str(tmp_path)), "sha256:" + "ab" * 32)


def write_ledger(folder, *, steps, cut=4):
    chain = bytes(32)
    for first in range(0, steps, cut):
        buffer = LedgerBuffer()
        for step in range(first, min(first + cut, steps)):
            buffer.add_leaf(step, 0, rows_m=[step], digest=bytes(32))
            buffer.add_step(step, loss=1.0 / (step + 1), witness=[step])
        segment = join_ledger_parts([buffer.drain()], first=first, leaves=1, chain_before=chain)
        save_segment(folder, segment)
        chain = segment.chain


def write_evaluation(folder, *, split, step, confusion):
    counts = np.array(confusion)
    document = {
        "samples": int(counts.sum()), "correct": int(np.trace(counts)), "loss": int(counts.sum()) << 19, "lossScale": 1 << 20,
        "nonFinite": 0, "confusion": counts.tolist(), "weightsDigest": "sha256:00",
    }  # fmt: skip
    save_evaluation(folder, split=split, step=step, document=document)


def test_curves_are_read_from_ledger_schedule_and_records(folder):
    write_ledger(folder, steps=10)
    write_evaluation(folder, split="validation", step=5, confusion=[[3, 1], [0, 4]])
    write_evaluation(folder, split="test", step=10, confusion=[[4, 0], [1, 5]])
    inputs = load_report_inputs(folder, KNOWN)
    assert list(inputs.train_losses) == [(step, pytest.approx(1.0 / step)) for step in range(1, 11)]
    assert inputs.learning_rates[0] == (1, pytest.approx(0.05))
    assert inputs.learning_rates[-1] == (10, pytest.approx(0.0))
    assert [(e.split, e.step, e.scores["accuracy"], e.loss) for e in inputs.evaluations] == [
        ("validation", 5, 0.875, 0.5), ("test", 10, 0.9, 0.5),
    ]  # fmt: skip
    assert inputs.confusion_split == "test"
    assert inputs.metrics["test accuracy"] == "0.9000"
    assert "digits" in build_report(inputs)


def test_a_run_that_was_refused_before_its_first_step_has_a_report_too(folder):
    inputs = load_report_inputs(folder, KNOWN)
    assert (inputs.train_losses, inputs.evaluations, inputs.confusion_kk, inputs.attempts) == (
        [],
        [],
        None,
        [],
    )
    assert "digits" in build_report(inputs)


def test_a_split_without_rows_is_no_evaluation(folder):
    write_evaluation(folder, split="test", step=3, confusion=[[0, 0], [0, 0]])
    inputs = load_report_inputs(folder, KNOWN)
    assert inputs.evaluations == []
    assert inputs.confusion_kk is None


def test_a_ledger_of_many_segments_is_sampled_and_keeps_its_end(folder, monkeypatch):
    monkeypatch.setattr(report_loader, "MOST_SEGMENTS", 10)
    write_ledger(folder, steps=45, cut=1)
    losses = load_report_inputs(folder, KNOWN).train_losses
    assert len(losses) <= 11
    assert losses[-1][0] == 45


def test_attempts_come_from_events_and_a_killed_one_from_its_claim(folder):
    for number, workers in ((1, 4), (2, 3)):
        claim_attempt(folder, number, workers=workers, version="0")
    log = AttemptEventLog(folder=folder, attempt=2)
    for step in (40, 60):
        log.add("Progress", workers=3, resumedFrom=40, step=step, leavesByWorker=[])
    log.flush()
    inputs = load_report_inputs(folder, KNOWN)
    first, second = inputs.attempts
    assert (first.number, first.workers, first.from_step, first.outcome) == (1, 4, None, "Killed or lost")
    assert (second.number, second.workers, second.from_step, second.to_step) == (2, 3, 40, 60)
    assert (inputs.time_spent, second.outcome) == (None, ""), (
        "events of an older version tell nothing of these"
    )
    assert "–" in build_report(inputs)


class Brightness(nn.Module):
    """Says class 1 for a bright picture."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        bright = images.mean((1, 2, 3)) * self.scale
        return torch.stack([-bright, bright], dim=1)


@pytest.mark.parametrize(
    ("labels", "most", "mistakes"),
    [
        pytest.param([0, 1] * 4, 4, 0, id="all right"),
        pytest.param([1, 0, 0, 1, 0, 1, 0, 1], 4, 2, id="half of the places are for mistakes"),
        pytest.param([1, 0] * 4, 4, 4, id="all wrong"),
    ],
)
def test_samples_show_mistakes_first_and_leave_the_padding_out(labels, most, mistakes):
    arithmetic = Arithmetic(leaves=1, leaf_rows=8, classes=2, seed=0, learning_rate=SCHEDULE)
    pixels = np.zeros((10, 4, 4, 3), np.uint8)
    pixels[1::2] = 255
    batch = EvaluationBatch(
        index=0, count=8, rows_b=np.arange(10), labels_b=np.array([*labels, 1, 0]), pixels_bhwc=pixels
    )
    samples = sample_predictions(
        Replica(arithmetic, Brightness()), iter([batch]), classes=("dark", "bright"), most=most
    )
    wrong = [sample.true_class != sample.predicted_class for sample in samples]
    assert len(samples) == most
    assert wrong == [True] * mistakes + [False] * (most - mistakes)
    assert all(0.5 < sample.confidence <= 1 for sample in samples)


def test_a_split_without_rows_has_no_samples():
    arithmetic = Arithmetic(leaves=1, leaf_rows=8, classes=2, seed=0, learning_rate=SCHEDULE)
    assert sample_predictions(Replica(arithmetic, Brightness()), iter(()), classes=("a", "b")) == []
