"""Losses and metrics by task, judged alike by the models and the API server; see `validation_cases`."""

from __future__ import annotations

from support.manifests.base_manifests import Case

T, S = "spec.training", "spec.trialTemplate.spec"
WEIGHTS = {"positiveWeights": [{"name": "a", "weight": "2"}]}
UNFIT = "is no metric of the task that training.loss.type is for"


def stop(metric: str, direction: str) -> dict[str, object]:
    return {"metric": f"validation/{metric}", "direction": direction, "patienceEvaluations": 3}


TASK_CASES: dict[str, Case] = {
    "a loss of several labels": Case(
        change={f"{T}.loss": {"type": "BinaryCrossEntropy", "binaryCrossEntropy": WEIGHTS}}
    ),
    "smoothed labels": Case(
        change={
            f"{T}.loss": {"type": "BinaryCrossEntropy", "binaryCrossEntropy": {"labelSmoothing": "0.1"}},
        }
    ),
    "labels smoothed to nothing": Case(
        change={f"{T}.loss": {"type": "BinaryCrossEntropy", "binaryCrossEntropy": {"labelSmoothing": "1"}}},
        line=f"{T}.loss.binaryCrossEntropy.labelSmoothing: must be at least 0 and less than 1 (got '1')",
        server="must be at least 0 and less than 1",
    ),
    "a loss of numbers": Case(
        change={
            f"{T}.loss": {"type": "MeanSquaredError"},
            f"{T}.earlyStopping": stop("rmse", "Minimize"),
        }
    ),
    "a focal loss and a metric of labels": Case(
        change={
            f"{T}.loss": {"type": "Focal", "focal": {"gamma": "1.5"}},
            f"{T}.earlyStopping": stop("average-precision", "Maximize"),
        }
    ),
    "parameters of another loss": Case(
        change={f"{T}.loss": {"type": "MeanSquaredError", "huber": {"delta": "1"}}},
        line=f"{T}.loss.huber: is only allowed with type Huber",
        server="is only allowed with type Huber",
    ),
    "a least delta": Case(
        change={f"{T}.loss": {"type": "Huber", "huber": {"delta": "1e-6"}}},
    ),
    **{
        f"a delta of {why}": Case(
            change={f"{T}.loss": {"type": "Huber", "huber": {"delta": delta}}},
            line=f"{T}.loss.huber.delta: must be at least 0.000001 and at most 1000000 (got '{delta}')",
            server="must be at least 0.000001 and at most 1000000",
        )
        for why, delta in {
            "nothing": "0",
            "nothing in float32": "1e-60",
            "no normal float32": "1e-40",
            "less than a step of an error": "1e-13",
        }.items()
    },
    "a metric of numbers for a loss of labels": Case(
        change={f"{T}.earlyStopping": stop("mae", "Minimize")},
        line=f"{T}.earlyStopping.metric: {UNFIT} (got 'validation/mae'); choose a metric of that task",
        server=UNFIT,
    ),
    "a metric that nobody counts": Case(
        change={f"{T}.earlyStopping": stop("auc", "Maximize")},
        line=f"{T}.earlyStopping.metric: is not a value that is allowed here (got 'validation/auc')",
    ),
    "mixup of numbers": Case(
        change={
            f"{T}.loss": {"type": "Huber"},
            f"{T}.augmentation": [{"type": "Resize", "resize": {"size": 96}}, {"type": "Mixup"}],
        },
        line=f"{T}.augmentation: Mixup blends labels and does not go with a loss of numbers",
        server="Mixup blends labels and does not go with a loss of numbers",
    ),
    "a top k to stop by": Case(
        change={
            "spec.evaluation": {"everyEpochs": 1, "topK": 5},
            f"{T}.earlyStopping": stop("top-k-accuracy", "Maximize"),
        }
    ),
    "a top k that nobody counts": Case(
        change={f"{T}.earlyStopping": stop("top-k-accuracy", "Maximize")},
        line=f"{T}.earlyStopping.metric: needs evaluation.topK (got 'validation/top-k-accuracy'); set it, "
        "for example to 5",
        server="needs evaluation.topK",
    ),
    "a top 1": Case(
        change={"spec.evaluation": {"everyEpochs": 1, "topK": 1}},
        line="spec.evaluation.topK: must be at least 2 (got 1)",
    ),
    "a top k of numbers": Case(
        change={
            "spec.evaluation": {"everyEpochs": 1, "topK": 5},
            f"{T}.loss": {"type": "MeanSquaredError"},
            f"{T}.earlyStopping": stop("top-k-accuracy", "Maximize"),
        },
        line=f"{T}.earlyStopping.metric: {UNFIT} (got 'validation/top-k-accuracy'); choose a metric of that "
        "task",
        server=UNFIT,
    ),
    "an objective that nobody counts": Case(
        kind="SweepJob",
        change={"spec.objective": {"metric": "validation/top-k-accuracy", "direction": "Maximize"}},
        line="spec.objective.metric: needs evaluation.topK (got 'validation/top-k-accuracy'); set it",
        server="needs evaluation.topK",
    ),
    "an objective of another task": Case(
        kind="SweepJob",
        change={"spec.objective": {"metric": "validation/r2", "direction": "Maximize"}},
        line=f"spec.objective.metric: {UNFIT} (got 'validation/r2'); choose a metric of that task",
        server=UNFIT,
    ),
    "an objective of numbers": Case(
        kind="SweepJob",
        change={
            "spec.objective": {"metric": "validation/r2", "direction": "Maximize"},
            f"{S}.training.loss": {"type": "MeanSquaredError"},
        },
    ),
}
