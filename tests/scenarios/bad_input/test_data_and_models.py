"""Datasets that lack something or were damaged, and user code that misbehaves: refused in one line, or just works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scenarios.bad_input.answers import refused, trained
from seedbed.storage import open_storage
from support.datasets.image_files import png
from support.datasets.small_datasets import write_dataset
from support.datasets.task_datasets import LOSSES, a_task_dataset
from support.runs.command_line import Scene, dataset, edited, flipped, images

BEST = {"training__modelSelection": "Best"}
STOP = {
    "training__earlyStopping": {
        "metric": "validation/loss",
        "direction": "Minimize",
        "patienceEvaluations": 1,
    }
}


# -- datasets that lack something


@pytest.mark.parametrize(
    ("counts", "changes"),
    [
        ({"validation": 0}, {}),
        ({"test": 0}, {}),
        ({"validation": 0, "test": 0}, {}),
        ({"validation": 0}, {"dataset__fold": {"index": 0, "count": 2}} | BEST),
    ],
    ids=["no validation", "no test", "train only", "a fold is held out for validation"],
)
def test_splits_may_be_missing(scene: Scene, counts: dict[str, int], changes: dict[str, Any]) -> None:
    data = dataset(scene.folder / "d", **counts)
    scene.job(dataset__uri=str(data), **changes)
    trained(scene.run())


@pytest.mark.parametrize("changes", [BEST, STOP], ids=["best model", "early stopping"])
def test_what_decides_by_validation_needs_it(scene: Scene, changes: dict[str, Any]) -> None:
    data = dataset(scene.folder / "d", validation=0)
    scene.job(dataset__uri=str(data), **changes)
    refused(
        scene.run(), "spec.dataset.uri", "no validation rows", "build the dataset with a validation split"
    )


def test_one_sample_trains_with_a_batch_of_one_and_no_other(scene: Scene) -> None:
    data = scene.folder / "d"
    write_dataset(open_storage(str(data)), rows={"train": 1}, classes=2)
    scene.job(dataset__uri=str(data))
    refused(scene.run(), "spec.training.batch.globalSize", "the 1 training rows", "use at most 1")
    scene.job(dataset__uri=str(data), training__batch={"globalSize": 1, "microSize": 1})
    trained(scene.run())


def test_a_class_that_no_training_row_belongs_to_is_named(scene: Scene) -> None:
    source = images(scene.folder / "images")
    for file in (source / "train" / "class2").iterdir():
        file.unlink()
    (source / "train" / "class2").rmdir()
    data = scene.folder / "d"
    assert scene.type("dataset", "build", source, data, "--parallelism", "1").exit_code == 0
    scene.job(dataset__uri=str(data))
    refused(
        scene.run(), "EmptyClass", "spec.dataset.uri", "'class2'", "in split train", "build the dataset with"
    )
    assert not list(scene.folder.rglob("result.json"))


@pytest.mark.parametrize(
    ("top_k", "task", "line"),
    [
        (3, "single-label", "is not less than the 3 classes of the dataset: every row would count (got 3); use at most 2"),
        (2, "multi-label", "does not fit the dataset, whose task is multi-label (got 2); remove it"),
    ],
    ids=["as many as classes", "several labels"],
)  # fmt: skip
def test_a_top_k_must_fit_the_dataset(scene: Scene, top_k: int, task: str, line: str) -> None:
    if task != "single-label":
        data = a_task_dataset(scene.folder / "d", task, rows=30)
        scene.job(
            dataset__uri=str(data),
            training__loss={"type": "BinaryCrossEntropy"},
            evaluation__topK=top_k,
        )
    else:
        scene.job(evaluation__topK=top_k)
    refused(scene.run(), f"spec.evaluation.topK: {line}")


METRICS_OF_TASKS = {
    "multi-label": ("Average precision", "Accuracy", "F1 macro", "F1 micro"),
    "regression": ("MAE", "RMSE", "R2"),
}


@pytest.mark.parametrize(("task", "titles"), METRICS_OF_TASKS.items(), ids=METRICS_OF_TASKS)
def test_metrics_of_a_task_are_in_status_report_and_curve(
    scene: Scene, task: str, titles: tuple[str, ...]
) -> None:
    data = a_task_dataset(scene.folder / "d", task)
    scene.job(dataset__uri=str(data), training__loss=LOSSES[task][0])
    answer = scene.run("-o", "json")
    names = {title.lower().replace(" ", "-") for title in titles} | {"loss"}
    shown = {each["name"] for each in answer.status["metrics"]}
    assert {name for name in shown if name.startswith("validation/")} == {
        f"validation/{name}" for name in names
    }
    folder = scene.run_folder()
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert [title for title in titles if title not in report] == []
    curve = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert [name for name in names if f"validation/{name}" not in curve] == []
    assert scene.type("verify", folder, "--from-step", "3").exit_code == 0


def test_top_k_is_in_status_report_and_curve(scene: Scene) -> None:
    scene.job(evaluation__topK=2)
    figures = {each["name"]: float(each["value"]) for each in scene.run("-o", "json").status["metrics"]}
    assert {f"{split}/top-k-accuracy" for split in ("validation", "test")} <= set(figures)
    assert all(
        figures[f"{split}/top-k-accuracy"] >= figures[f"{split}/accuracy"] for split in ("validation", "test")
    )
    folder = scene.run_folder()
    assert "Top k accuracy" in (folder / "report.html").read_text(encoding="utf-8")
    assert "validation/top-k-accuracy" in (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert scene.type("verify", folder, "--from-step", "3").exit_code == 0


@pytest.mark.parametrize(
    ("scale", "rate"), [(1e9, "0.1"), (100.0, "10")], ids=["large numbers", "a high learning rate"]
)
def test_loss_of_numbers_that_is_not_finite_names_their_scale(scene: Scene, scale: float, rate: str) -> None:
    data = a_task_dataset(scene.folder / "d", "regression", rows=30, scale=scale)
    scene.job(
        dataset__uri=str(data),
        training__loss={"type": "MeanSquaredError"},
        training__optimizer={"type": "SGD", "learningRate": rate},
        training__steps=40,
    )
    refused(
        scene.run(),
        "NonFiniteLoss",
        "learningRate",
        "numbers of the dataset",
        "divided by its spread",
        "Huber",
    )


BUILDS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "an empty class": (lambda top: (top / "train" / "ghost").mkdir(), ("EmptyClass", "'ghost'", "remove")),
    "a file that is no image": (
        lambda top: (top / "train" / "class0" / "z.png").write_bytes(b"text"),
        ("BadImages", "train/class0/z.png", "--on-error skip"),
    ),
    "an image cut short": (
        lambda top: (top / "train" / "class0" / "z.png").write_bytes(png(1)[:-30]),
        ("BadImages", "train/class0/z.png", "--on-error skip"),
    ),
}


@pytest.mark.parametrize("name", BUILDS)
def test_bad_sources_are_refused_and_nothing_is_built(scene: Scene, name: str) -> None:
    spoil, says = BUILDS[name]
    source, dest = images(scene.folder / "source"), scene.folder / "dest"
    spoil(source)
    answer = scene.type("dataset", "build", source, dest, "--parallelism", "1")
    *listed, line = answer.errors
    assert all(line.startswith("refused: ") for line in listed)
    assert [word for word in says if word not in line] == [], line
    assert answer.exit_code == 2
    assert not (dest / "manifest.json").exists()


def test_one_image_makes_no_dataset(scene: Scene) -> None:
    source = images(scene.folder / "source", train=1, validation=0, test=0, classes=1)
    answer = scene.type("dataset", "build", source, scene.folder / "dest")
    refused(answer, "TooFewImages", "SOURCE", "add images")


# -- damage


def shards(data: Path, *, split: str = "train", index: bool = False) -> list[Path]:
    found = sorted((data / "shards").glob(f"{split}*.arrow"))
    return [path for path in found if (".index." in path.name) == index]


def middle(data: bytes) -> bytes:
    return flipped(data, at=len(data) // 2)


DAMAGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a bit of a shard": (lambda data: edited(shards(data)[0], middle), ("train-", "dataset check")),
    "a shard cut short": (lambda data: edited(shards(data)[0], lambda b: b[:99]), ("train-", "too short")),
    "a shard that is gone": (lambda data: shards(data)[0].unlink(), ("train-", "missing")),
    "a bit of a validation shard": (
        lambda data: edited(shards(data, split="validation")[0], middle),
        ("validation-", "dataset check"),
    ),
    "a bit of an index": (lambda data: edited(shards(data, index=True)[0], middle), ("index", "sha256")),
    "an index that is gone": (lambda data: shards(data, index=True)[0].unlink(), ("index", "missing")),
    "a manifest edited by hand": (
        lambda data: edited(data / "manifest.json", lambda b: b.replace(b"class0", b"klass0")),
        ("manifest.json", "was changed"),
    ),
    "a manifest that is no JSON": (
        lambda data: edited(data / "manifest.json", lambda _: b"hello"),
        ("manifest.json", "is not a dataset manifest"),
    ),
    "a manifest that is gone": (
        lambda data: (data / "manifest.json").unlink(),
        ("manifest.json is missing",),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_in_the_dataset_is_named(scene: Scene, name: str) -> None:
    spoil, says = DAMAGES[name]
    data = scene.copied()
    spoil(data)
    scene.job(dataset__uri=str(data))
    refused(scene.run(), "InvalidDataset: spec.dataset.uri: ", *says)
    assert not list(scene.folder.rglob("result.json"))


def test_damage_that_was_mended_is_forgotten(scene: Scene) -> None:
    data = scene.copied()
    whole = shards(data)[0].read_bytes()
    edited(shards(data)[0], middle)
    scene.job(dataset__uri=str(data))
    refused(scene.run())
    edited(shards(data)[0], lambda _: whole)
    trained(scene.run())


# -- user code

GOOD = """
import torch
from torch import nn
class Net:
    def build(self, args):
        return nn.Sequential(Middle(), nn.Flatten(), nn.Linear(12 * 12 * 3, int(args["classes"])))
class Middle(nn.Module):
    calls = 0
    def forward(self, images):
        return images
"""
METRICS = GOOD.replace("class Middle", "    def metrics(self, confusion):\n        return {}\nclass Middle")

AVERAGING = GOOD.replace("nn.Linear(12 * 12 * 3,", "Averaged(12 * 12 * 3,").replace(
    "class Middle",
    """
    def loss(self, model, batch):
        with torch.no_grad():
            model[2].average.lerp_(model[2].weight, 0.1)
        return nn.functional.cross_entropy(model(batch.images_mchw), batch.labels_m)
class Averaged(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("average", self.weight.detach().clone())
class Middle""",
)
STRICT = """
import torch
from torch import nn
class Net:
    def build(self, args):
        return Middle(12 * 12 * 3, int(args["classes"]))
class Middle(nn.Linear):
    def forward(self, images):
        scores = super().forward(images.flatten(1))
        # no score is so far from the others before the first step
        if scores.max() - scores.min() > 4.0:
            raise KeyError('late')
        return scores
"""


def middle_layer(body: str) -> str:
    return GOOD.replace("return images", body)


CODE = {
    "syntax error": ("def (", ("mine.py:1", "SyntaxError")),
    "missing import": (f"import not_there\n{GOOD}", ("mine.py:1", "not_there")),
    "missing object": ("other = 1", ("mine has no Net", "other")),
    "exit at import": ("import sys; sys.exit(3)", ("mine.py:1", "SystemExit")),
    "raises in build": (
        GOOD.replace("return nn.S", "raise RuntimeError('boom')\n        return nn.S"),
        ("boom",),
    ),
    "builds no module": (GOOD.replace("return nn.Sequential", "return tuple"), ("raised", "mine.py:6")),
    "raises in forward": (middle_layer("raise KeyError('boom')"), ("mine.py:10", "KeyError", "boom")),
    "wrong shape": (
        GOOD.replace('int(args["classes"])', "7"),
        ("(4, 7)", "(4, 3)", "return a floating tensor"),
    ),
    "layers that do not fit": (GOOD.replace("12 * 12 * 3", "7"), ("shapes cannot be multiplied",)),
    "not deterministic": (
        middle_layer("import os; return images * os.urandom(1)[0]"),
        ("not deterministic", "differs when run twice", "default generators alone"),
    ),
    "a state that leaks": (
        middle_layer("Middle.calls += 1; return images * Middle.calls"),
        ("not deterministic",),
    ),
    "a counter that acts late": (
        middle_layer("self.calls += 1; return images if self.calls < 10_000 else 0 * images"),
        ("not deterministic: 0.calls (1 became ", "depends on the leaves and evaluations before"),
    ),
    "a loss that keeps an average": (
        AVERAGING,
        ("average: a forward or backward pass changes it", "only BatchNorm may keep statistics"),
    ),
    "other threads at import": (
        f"import torch; torch.set_num_threads(3)\n{GOOD}",
        ("threads or deterministic mode", "remove calls"),
    ),
    "autotuning in forward": (
        middle_layer("import torch; torch.backends.cudnn.benchmark = True; return images"),
        ("threads or deterministic mode", "remove calls"),
    ),
    "momentum of no meaning": (
        GOOD.replace("Middle()", "nn.BatchNorm2d(3, momentum=None)"),
        ("BatchNorm with momentum=None", "give it a momentum"),
    ),
    "raises in mid-training": (
        STRICT,
        ("training raised at mine.py:12", "KeyError: 'late'"),
    ),
    "metrics that raise": (METRICS.replace("return {}", "return 1 / 0"), ("metrics raised", "ZeroDivision")),
    "metrics without a name": (
        METRICS.replace("return {}", "return {'My Metric': 1}"),
        ("'My Metric'", "lower case"),
    ),
    "metrics by our name": (METRICS.replace("return {}", "return {'loss': 1}"), ("loss", "rename it")),
    "a metric by our other name": (
        METRICS.replace("return {}", "return {'top-k-accuracy': 1}"),
        ("top-k-accuracy", "rename it"),
    ),
    "metrics that are no number": (
        METRICS.replace("return {}", "return {'a': 'b'}"),
        ("metrics raised", "'b'"),
    ),
    "metrics that are not finite": (
        METRICS.replace("{}", "{'precision': (confusion.diagonal() / confusion.sum(0)).mean()}"),
        ("precision = nan", "never predicted"),
    ),
    "metrics by chance": (
        METRICS.replace("{}", "{'luck': __import__('random').random()}"),
        ("luck", "deterministic"),
    ),
    "too many metrics": (METRICS.replace("{}", "{f'm{i}': i for i in range(13)}"), ("13", "at most 12")),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("name", CODE)
def test_user_code_is_refused_with_file_and_line(scene: Scene, name: str) -> None:
    source, says = CODE[name]
    scene.job(model={"entrypoint": "mine:Net"})
    refused(
        scene.run("--code", scene.code(source)), "ModelError: spec.model.entrypoint: ", "'mine:Net'", *says
    )
    assert not list(scene.folder.rglob("result.json"))


def test_a_counter_that_no_probe_finds_is_found_in_the_training(scene: Scene) -> None:
    source = middle_layer(
        "CALLS.n = getattr(CALLS, 'n', 0) + 1; return images * (1.0 + 0.01 * max(CALLS.n - 50, 0))"
    )
    scene.job(model={"entrypoint": "mine:Net"}, training__steps=40)
    answer = scene.run("--code", scene.code(f"import threading; CALLS = threading.local()\n{source}"))
    refused(answer, "ModelError: spec.model: not deterministic: gradient of 2.", "a leaf is computed twice")
    assert list(scene.run_folder().glob("checkpoints/*.json"))


def test_code_that_was_mended_is_another_run(scene: Scene) -> None:
    scene.job(model={"entrypoint": "mine:Net"})
    refused(scene.run("--code", scene.code(middle_layer("raise KeyError('boom')"))))
    trained(scene.run("--code", scene.code(GOOD)))


def test_metrics_of_user_code_are_in_status_receipt_and_table(scene: Scene) -> None:
    source = METRICS.replace(
        "{}", "{'right': confusion.trace(), 'share': confusion.trace() / confusion.sum()}"
    )
    scene.job(model={"entrypoint": "mine:Net"})
    answer = scene.run("-o", "json", "--code", scene.code(source))
    figures = {metric["name"]: metric["value"] for metric in answer.status["metrics"]}
    assert figures["test/share"] == figures["test/accuracy"]
    assert float(figures["validation/right"]) == round(9 * float(figures["validation/accuracy"]))
    assert "test/share" in answer.stderr
    assert '"test/share"' in (scene.run_folder() / "receipt.json").read_text()
    again = scene.run("-o", "json", "--code", scene.code(source))
    assert again.status["metrics"] == answer.status["metrics"]


def test_metrics_that_fail_on_real_counts_are_left_out_aloud(scene: Scene) -> None:
    source = METRICS.replace("return {}", "return {'rare': 1 / int(confusion.sum() != 9)}")
    scene.job(model={"entrypoint": "mine:Net"}, training__batch={"globalSize": 8, "microSize": 4})
    probed = scene.run("-o", "json", "--code", scene.code(source))
    refused(probed, "metrics raised")  # the probe of three classes counts 9 too
    source = source.replace("!= 9", "!= 8")
    data = dataset(scene.folder / "d", test=0, validation=4, classes=2)
    scene.job(dataset__uri=str(data), model={"entrypoint": "mine:Net"})
    answer = scene.run("-o", "json", "--code", scene.code(source))
    assert answer.exit_code == 0
    assert "your metrics are left out" in answer.stderr
    assert {m["name"] for m in answer.status["metrics"]} == {"validation/accuracy", "validation/loss"}


def test_loss_that_is_not_finite_names_step_and_learning_rate(scene: Scene) -> None:
    wild = {"type": "SGD", "learningRate": "1000", "weightDecay": "1000"}
    scene.job(training__optimizer=wild, training__steps=40)
    refused(scene.run(), "NonFiniteLoss", "step", "learning rate 1000", "learningRate")
    assert not list(scene.folder.rglob("result.json"))
