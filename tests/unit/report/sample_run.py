"""A run as it might have been, drawn from fixed formulas: what the report's tests and screenshots show."""

import math

import numpy as np

from seedbed.report import AttemptRow, EvaluationPoint, ReportInputs, SamplePrediction, TimeSpent

CLASSES = (
    "Black-grass", "Charlock", "Cleavers", "Common Chickweed", "Common wheat", "Fat Hen",
    "Loose Silky-bent", "Maize", "Scentless Mayweed", "Shepherd's Purse", "Small-flowered Cranesbill", "Sugar beet",
)  # fmt: skip
RECIPE = """\
dataset:
  digest: sha256:5e0c7a…
model:
  name: resnet18
training:
  epochs: 20
  seed: 42
  batch: {globalSize: 128, microSize: 16}
  optimizer: {type: SGD, learningRate: "0.1", weightDecay: "5e-4", sgd: {momentum: "0.9"}}
  learningRateSchedule: {type: Cosine, warmupSteps: 50}
"""


def digest(seed: str) -> str:
    return "sha256:" + (seed * 64)[:64]


def confusion() -> np.ndarray:
    generator = np.random.default_rng(7)
    counts = np.diag([52, 78, 57, 122, 44, 95, 130, 44, 103, 46, 99, 77]).astype(np.int64)
    for _ in range(22):
        true, predicted = generator.integers(0, 12, 2)
        counts[true, predicted] += 1
    counts[0, 6] += 17
    counts[6, 0] += 9
    return counts


def picture(index: int) -> np.ndarray:
    """A round plant of `index` leaves on soil, 48 pixels."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    leaf = radius < 0.35 + 0.45 * np.abs(np.cos(angle * (1 + index % 5) / 2 + index))
    noise = np.random.default_rng(index).integers(0, 30, (48, 48, 1))
    soil, green = np.array([110, 88, 66]), np.array([60 + 9 * index % 60, 150 + 7 * index % 60, 60])
    return (np.where(leaf[..., None], green, soil) + noise).astype(np.uint8)


def a_report(**changes: object) -> ReportInputs:
    steps = range(1, 681)
    noise = np.random.default_rng(3).normal(0, 0.09, 681)
    losses = [
        (s, max(0.02, 2.5 * math.exp(-s / 130) + 0.12 + noise[s] * (0.3 + math.exp(-s / 200)))) for s in steps
    ]
    rates = [(s, 0.1 * min(s / 50, 0.5 * (1 + math.cos(math.pi * max(0, s - 50) / 630)))) for s in steps]
    evaluations = [
        EvaluationPoint(
            step=34 * e,
            split="validation",
            loss=2.4 * math.exp(-e / 4.2) + 0.17,
            scores={"accuracy": 0.962 - 0.85 * math.exp(-e / 3.4)},
        )
        for e in range(1, 21)
    ]
    evaluations.append(EvaluationPoint(step=680, split="test", loss=0.19, scores={"accuracy": 0.9516}))
    samples = [
        SamplePrediction(
            pixels_hwc=picture(i),
            true_class=CLASSES[i % 12],
            predicted_class=CLASSES[6 if i % 12 == 0 else i % 12],
            confidence=0.61 if i % 12 == 0 else 0.999 - 0.013 * i,
        )
        for i in range(16)
    ]
    values: dict[str, object] = {
        "job": "seedlings",
        "state": "Trained",
        "run_id": digest("4f1c"),
        "created": "2026-03-14 09:26 UTC",
        "model": "resnet18",
        "metrics": {
            "test accuracy": "0.9516", "validation accuracy": "0.9602", "test loss": "0.1902",
            "images per second": "812", "steps": "680", "workers": "4 → 3",
        },
        "train_losses": losses,
        "learning_rates": rates,
        "evaluations": evaluations,
        "classes": CLASSES,
        "confusion_kk": confusion(),
        "samples": samples,
        "dataset_uri": "s3://datasets/seedlings",
        "dataset_digest": digest("5e0c7a"),
        "rows_per_split": {"train": 4432, "validation": 554, "test": 553},
        "recipe_yaml": RECIPE,
        "environment": {"device": {"type": "cpu"}, "cpu": {"class": "avx2", "threads": 1}, "packages": {"torch": "2.15.0"}},
        "environment_name": "cpu-avx2-t1-torch2.15.0",
        "digests": {
            "Weights": digest("9be1"), "Receipt": digest("77a0"), "Ledger chain": digest("c0de"), "Environment class": digest("e4"),
        },
        "verify_command": f"seedbed verify s3://runs/runs/{digest('4f1c')}/receipt.json --from-step 200 --to-step 400 --workers 2",
        "time_spent": TimeSpent(start_up=9.4, data=6.1, compute=71.5, exchange=12.2, evaluation=8.8, checkpoint=2.6),
        "attempts": [
            AttemptRow(number=1, workers=4, from_step=0, to_step=231, seconds=41.2, outcome="Preempted"),
            AttemptRow(number=2, workers=3, from_step=200, to_step=680, seconds=74.9, outcome="Done"),
        ],
    }  # fmt: skip
    return ReportInputs(**(values | changes))
