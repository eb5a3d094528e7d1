"""Metrics of several labels and of numbers: those of scikit-learn, and equal however the rows are divided."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from seedbed.arithmetic.arithmetic_config import BinaryCrossEntropy, Focal, Huber, MeanSquaredError
from seedbed.arithmetic.evaluation_counts import LOSS_LIMIT, LOSS_SCALE
from seedbed.arithmetic.integer_limbs import limbs, value_of
from seedbed.arithmetic.losses import leaf_loss
from seedbed.arithmetic.target_counting import ClassCounter, LabelCounter, NumberCounter, score_bins
from seedbed.arithmetic.target_counts import NUMBER_LIMIT
from seedbed.training.evaluation_metrics import evaluation_document
from seedbed_api.canonical_json import canonical_json
from seedbed_api.metric_values import metric_values, reported_metrics, square_root
from unit.arithmetic.replicas import an_arithmetic

ROWS, LABELS = 60, 4


@dataclass
class Batch:
    labels_b: Any
    count: int
    index: int = 0
    pixels_bhwc: Any = None


def counted(counter, targets, logits, *, parts: int = 1) -> dict[str, Any]:
    """Return the record of rows that so many workers counted, each in batches padded by one row."""
    total = np.zeros(counter.size, np.int64)
    for own in np.array_split(np.arange(len(targets)), parts):
        if not len(own):
            continue
        padded = [*own, own[-1]]
        batch = Batch(labels_b=targets[padded], count=len(own))
        total += counter.count(batch, torch.from_numpy(logits[padded].astype(np.float32)))
    return evaluation_document(counter.counts(total), weights_digest="")


def labelled(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    marks = draw.integers(0, 2, (ROWS, LABELS)).astype(np.uint8)
    marks[0], marks[1] = 1, 0
    return marks, draw.normal(0, 3, (ROWS, LABELS)) + marks


def classified(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    classes = np.concatenate([np.arange(6), draw.integers(0, 6, ROWS - 6)])
    return classes, draw.normal(0, 1, (ROWS, 6)) + np.eye(6)[classes]


def numbered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = draw.normal(5, 20, (ROWS, 3))
    return targets, (targets + draw.normal(0, 2, targets.shape)).astype(np.float32)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_metrics_of_labels_are_those_of_scikit_learn(seed: int) -> None:
    marks, logits = labelled(seed)
    found = metric_values(counted(LabelCounter(LABELS), marks, logits))
    said = logits.astype(np.float32) > 0
    expected = {
        "accuracy": oracle.accuracy_score(marks, said),
        "f1-macro": oracle.f1_score(marks, said, average="macro"),
        "f1-micro": oracle.f1_score(marks, said, average="micro"),
        "average-precision": oracle.average_precision_score(marks, score_bins(logits.astype(np.float32))),
    }
    expected["loss"] = oracle.log_loss(marks.reshape(-1), 1 / (1 + np.exp(-logits.reshape(-1))))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=2e-6)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), top_k=st.integers(2, 5))
def test_metrics_of_one_label_are_those_of_scikit_learn(seed: int, top_k: int) -> None:
    classes, logits = classified(seed)
    found = metric_values(counted(ClassCounter(6, top_k=top_k), classes, logits))
    said = logits.argmax(axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = {
        "accuracy": oracle.accuracy_score(classes, said),
        "f1-macro": oracle.f1_score(classes, said, average="macro"),
        "f1-micro": oracle.f1_score(classes, said, average="micro"),
        "top-k-accuracy": oracle.top_k_accuracy_score(classes, logits, k=top_k, labels=range(6)),
        "loss": oracle.log_loss(classes, shares, labels=range(6)),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=2e-6)


def test_the_top_k_of_equal_logits_and_of_logits_that_are_no_numbers() -> None:
    """Equal ones are in the order of the classes, as for the prediction; a row with NaN is in no top."""
    classes = np.arange(4)
    tied = counted(ClassCounter(4, top_k=2), classes, np.zeros((4, 4)))
    assert (tied["correct"], tied["topK"], tied["topKCorrect"]) == (1, 2, 2)
    logits = np.zeros((4, 4))
    logits[0, 3] = np.nan
    assert counted(ClassCounter(4, top_k=2), classes, logits)["topKCorrect"] == 1
    sure = counted(ClassCounter(4, top_k=2), classes, np.where(np.eye(4) > 0, np.inf, -np.inf))
    assert sure["topKCorrect"] == 4


def test_a_record_without_top_k_is_as_it_was() -> None:
    classes, logits = classified(3)
    with_top, without = (counted(ClassCounter(6, top_k=top), classes, logits) for top in (2, None))
    assert set(with_top) - set(without) == {"topK", "topKCorrect"}
    assert {name: with_top[name] for name in without} == without
    assert set(reported_metrics(without)) == {"accuracy", "loss"}
    assert set(reported_metrics(with_top)) == {"accuracy", "loss", "top-k-accuracy"}


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_metrics_of_numbers_are_those_of_scikit_learn(seed: int) -> None:
    targets, predicted = numbered(seed)
    found = metric_values(counted(NumberCounter(3), targets, predicted))
    expected = {
        "mae": oracle.mean_absolute_error(targets, predicted),
        "rmse": oracle.root_mean_squared_error(targets, predicted),
        "r2": oracle.r2_score(targets, predicted),
        "loss": oracle.mean_squared_error(targets, predicted),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("counter", "rows"),
    [(ClassCounter(6, top_k=3), classified(2)), (LabelCounter(LABELS), labelled(3)), (NumberCounter(3), numbered(4)), (NumberCounter(3, delta=0.7), numbered(5))],
    ids=["one label", "labels", "numbers", "numbers with Huber"],
)  # fmt: skip
def test_every_division_and_order_gives_one_record(counter, rows) -> None:
    targets, logits = rows
    records = [counted(counter, targets, logits, parts=parts) for parts in (1, 2, 3, 8, ROWS)]
    order = np.random.default_rng(0).permutation(ROWS)
    records.append(counted(counter, targets[order], logits[order], parts=3))
    assert all(record == records[0] for record in records)


@settings(deadline=None, max_examples=25)
@given(
    case=st.sampled_from(["one label", "labels", "numbers"]),
    owners=st.lists(st.integers(0, 7), min_size=ROWS // 5, max_size=ROWS // 5),
    order=st.permutations(range(8)),
    odd=st.dictionaries(st.integers(0, ROWS - 1), st.sampled_from([np.nan, np.inf, -np.inf])),
)
def test_batches_of_any_workers_merge_in_any_order(case, owners, order, odd) -> None:
    """Batches are fixed; which worker counts one, and which worker is added first, is not."""
    counter, (targets, logits) = {
        "one label": (ClassCounter(6, top_k=3), classified(2)),
        "labels": (LabelCounter(LABELS), labelled(3)),
        "numbers": (NumberCounter(3, delta=0.7), numbered(5)),
    }[case]
    for row, value in odd.items():
        logits[row, row % logits.shape[1]] = value
    counts = [
        counter.count(Batch(labels_b=targets[at : at + 5], count=5), torch.from_numpy(logits[at : at + 5].astype(np.float32)))
        for at in range(0, ROWS, 5)
    ]  # fmt: skip
    workers = [
        sum((own for own, owner in zip(counts, owners, strict=True) if owner == worker), start=np.zeros(counter.size, np.int64))
        for worker in order
    ]  # fmt: skip
    merged, alone = (
        evaluation_document(counter.counts(sum(part)), weights_digest="") for part in (workers, counts)
    )
    assert merged == alone
    assert metric_values(merged) == metric_values(alone)
    assert canonical_json(merged)


def test_a_sum_of_floats_would_depend_on_the_order() -> None:
    """Numbers of very different size: exact sums see the small ones."""
    targets = np.array([[1e9], [1e-9], [-1e9], [2.0**-40]])
    zeros = np.zeros_like(targets)
    record = counted(NumberCounter(1), targets, zeros)
    assert sum(int(value) for value in record["targets"]) == round(1e-9 * 2**40) + 1


def test_the_huber_loss_is_that_of_torch() -> None:
    targets, predicted = numbered(7)
    record = counted(NumberCounter(3, delta=1.5), targets, predicted)
    expected = torch.nn.functional.huber_loss(
        torch.from_numpy(predicted).double(), torch.from_numpy(targets), delta=1.5
    )
    assert float(metric_values(record)["loss"]) == pytest.approx(float(expected), rel=1e-9)


def test_predictions_that_are_not_finite_count_as_the_largest_error() -> None:
    predicted = np.array([[np.nan], [np.inf], [-np.inf], [0.0]], np.float32)
    record = counted(NumberCounter(1), np.zeros((4, 1)), predicted)
    assert record["nonFinite"] == 3
    assert metric_values(record)["mae"] == Fraction(3 * NUMBER_LIMIT, 4)


@pytest.mark.parametrize(
    ("counter", "targets"),
    [(ClassCounter(2), np.array([0, 1])), (LabelCounter(2), np.array([[0, 0], [1, 1]], np.uint8))],
    ids=["one label", "labels"],
)
def test_the_loss_of_any_number_of_rows_is_exact(counter, targets) -> None:
    """2^28 rows of the largest loss: their sum has more than 63 bits, and is more than JSON numbers hold."""
    lost = np.full((2, 2), np.nan, np.float32)
    vector = counter.count(Batch(labels_b=targets, count=2), torch.from_numpy(lost))
    counts = counter.counts(vector * 2**27)
    record = evaluation_document(counts, weights_digest="")
    each = counts.non_finite // 2**28
    assert int(record["loss"]) == 2**28 * each * LOSS_LIMIT * LOSS_SCALE
    assert metric_values(record)["loss"] == LOSS_LIMIT
    assert canonical_json(record)
    assert (
        evaluation_document(counter.counts(vector), weights_digest="")["loss"]
        == 2 * each * LOSS_LIMIT * LOSS_SCALE
    )


def test_logits_that_are_no_numbers_are_wrong_predictions() -> None:
    marks = np.array([[0, 0], [1, 1], [1, 0], [0, 1]], np.uint8)
    nan = np.full(marks.shape, np.nan)
    lost = counted(LabelCounter(2), marks, nan)
    values = metric_values(lost)
    assert lost["nonFinite"] == 8
    assert values["accuracy"] == values["f1-macro"] == values["f1-micro"] == 0
    assert values["average-precision"] == Fraction(1, 2), (
        "every row without a label ranks before those with it"
    )
    half = counted(LabelCounter(2), marks, np.where([[True, False]], nan, marks * 2.0 - 1))
    assert (half["correct"], half["nonFinite"]) == (0, 4)
    assert (half["truePositives"], half["falsePositives"], half["falseNegatives"]) == ([0, 2], [2, 0], [2, 0])


def test_constant_targets_and_labels_that_no_row_has() -> None:
    exact = counted(NumberCounter(1), np.ones((3, 1)), np.ones((3, 1)))
    wrong = counted(NumberCounter(1), np.ones((3, 1)), np.zeros((3, 1)))
    assert (metric_values(exact)["r2"], metric_values(wrong)["r2"]) == (1, 0)
    marks = np.array([[1, 0], [1, 0]], np.uint8)
    record = counted(LabelCounter(2), marks, np.array([[1.0, -1.0], [1.0, -1.0]]))
    assert metric_values(record)["average-precision"] == metric_values(record)["f1-macro"] == 1


@given(st.lists(st.integers(-(2**200), 2**200), min_size=1, max_size=5))
def test_limbs_add_up(values: list[int]) -> None:
    digits = np.array([limbs(value) for value in values], np.int64).sum(axis=0)
    assert value_of(digits.tolist()) == sum(values)


@given(st.fractions(min_value=0, max_value=10**6))
def test_a_root_is_rounded_down(value: Fraction) -> None:
    root = square_root(value)
    assert root**2 <= value < (root + Fraction(2, 2**40)) ** 2


class TestLosses:
    LOGITS = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -3.0]], requires_grad=True)
    MARKS = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.uint8)
    CLASSES = torch.tensor([2, 0])

    def loss(self, loss: Any, targets: torch.Tensor, task: str) -> float:
        return float(leaf_loss(an_arithmetic(loss=loss, task=task), self.LOGITS, targets))

    def test_positive_weights_are_those_of_torch(self) -> None:
        weights = (1.0, 3.0, 0.5)
        found = self.loss(BinaryCrossEntropy(positive_weights=weights), self.MARKS, "multi-label")
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(
            self.LOGITS, self.MARKS.float()
        )
        assert found == pytest.approx(float(expected))

    def test_smoothed_labels_are_between_0_and_1(self) -> None:
        found = self.loss(BinaryCrossEntropy(label_smoothing=0.2), self.MARKS, "multi-label")
        smooth = torch.tensor([[0.9, 0.1, 0.9], [0.1, 0.9, 0.1]])
        expected = torch.nn.functional.binary_cross_entropy(torch.sigmoid(self.LOGITS), smooth)
        assert found == pytest.approx(float(expected))

    def test_focal_without_focus_is_cross_entropy(self) -> None:
        plain = torch.nn.functional.cross_entropy(self.LOGITS, self.CLASSES)
        assert self.loss(Focal(gamma=0.0), self.CLASSES, "single-label") == pytest.approx(float(plain))
        several = torch.nn.functional.binary_cross_entropy_with_logits(self.LOGITS, self.MARKS.float())
        assert self.loss(Focal(gamma=0.0), self.MARKS, "multi-label") == pytest.approx(float(several))

    def test_focal_is_its_formula(self) -> None:
        right = torch.softmax(self.LOGITS, 1)[torch.arange(2), self.CLASSES]
        expected = (-((1 - right) ** 2) * right.log()).mean()
        assert self.loss(Focal(gamma=2.0), self.CLASSES, "single-label") == pytest.approx(float(expected))

    def test_the_gradient_of_a_focal_root_is_finite_where_the_answer_is_sure(self) -> None:
        sure = torch.tensor([[200.0, 0.0, 0.0], [200.0, 0.0, 0.0]], requires_grad=True)
        arithmetic = an_arithmetic(loss=Focal(gamma=0.5))
        leaf_loss(arithmetic, sure, torch.tensor([0, 0])).backward()
        assert sure.grad is not None
        assert sure.grad.isfinite().all()

    @pytest.mark.parametrize(
        ("loss", "expected"),
        [
            (MeanSquaredError(), torch.nn.functional.mse_loss),
            (Huber(delta=0.5), lambda a, b: torch.nn.functional.huber_loss(a, b, delta=0.5)),
        ],
    )
    def test_losses_of_numbers_are_those_of_torch(self, loss: Any, expected: Any) -> None:
        numbers = torch.tensor([[0.0, 1.0, 2.0], [5.0, -1.0, 0.25]], dtype=torch.float64)
        found = self.loss(loss, numbers, "regression")
        assert found == pytest.approx(float(expected(self.LOGITS, numbers.float())))
