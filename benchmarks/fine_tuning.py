"""Fine-tuning against training from random weights, with weights that the project trained itself.

A base is trained on eight species of the seedlings. The other four are then learned from random weights, also
in a tenth of the steps, and from the base in that tenth. Prints the accuracies on test rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
SEEDBED = Path(sys.executable).with_name("seedbed")
NEW = ("Charlock", "Loose Silky-bent", "Small-flowered Cranesbill", "Sugar beet")
"""Species that the base has not seen; the other eight are its classes."""
STEPS = 300
BASE_STEPS = 600
SIZE = 32


def prepare(folder: Path, scale: str, share: float) -> None:
    """Draw the seedlings, and build the datasets `old` and `new`, each of its own species.

    `share` of the new ones are for training, a tenth for validation, and the others for the test.
    """
    images = folder / "images"
    draw = REPOSITORY / "examples/seedlings/generate_seedlings.py"
    command(sys.executable, draw, images, "--processes", 2, "--scale", scale)
    for name in ("old", "new"):
        source = folder / f"images-{name}"
        for species in images.iterdir():
            if (species.name in NEW) == (name == "new"):
                shutil.copytree(species, source / species.name)
        train = share if name == "new" else 0.8
        split = f"train={train:g},validation=0.1,test={0.9 - train:.4g}"
        command(SEEDBED, "dataset", "build", source, folder / name, "--image-size", 40, "--split", split)


def command(*words: object) -> str:
    """Run a command and return what it printed; raises CalledProcessError."""
    ended = subprocess.run([*map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    return ended.stdout


def train(folder: Path, name: str, *, data: str, steps: int, seed: int, **changes: Any) -> dict[str, Any]:
    """Train to the end and return the status of the job."""
    model = {"name": "simple-cnn", "args": [{"name": "width", "value": "16"}]} | changes.pop("model", {})
    training = {
        "steps": steps,
        "seed": seed,
        "batch": {"globalSize": 32, "microSize": 8},
        "optimizer": {
            "type": "SGD",
            "learningRate": "0.1",
            "weightDecay": "5e-4",
            "sgd": {"momentum": "0.9"},
        },
        "learningRateSchedule": {"type": "Cosine", "warmupSteps": steps // 10},
        "augmentation": [
            {"type": "RandomResizedCrop", "randomResizedCrop": {"size": SIZE, "scaleMin": "0.6"}},
            {"type": "HorizontalFlip"},
        ],
    }
    job = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"uri": str(folder / data)},
            "model": model,
            "training": training | changes,
            "evaluation": {"everySteps": steps},
            "output": {"uri": str(folder / "runs")},
            "checkpoint": {"everySteps": 1000},
            "cluster": {"feed": "Local"},
        },
    }
    manifest = folder / f"{name}.json"
    manifest.write_text(json.dumps(job), encoding="utf-8")
    status: dict[str, Any] = json.loads(command(SEEDBED, "run", "-f", manifest, "-o", "json"))
    return status


def accuracy(status: dict[str, Any]) -> float:
    """Return the share of right answers on test rows."""
    return next(float(each["value"]) for each in status["metrics"] if each["name"] == "test/accuracy")


def ways(run: str) -> dict[str, dict[str, Any]]:
    """Return how the new species are learned: steps and changes of the recipe."""
    base = {"model": {"weights": {"run": run, "exclude": ["head.*"]}}}
    tenth = STEPS // 10
    return {
        "random weights": {"steps": STEPS},
        "random weights, a tenth of the steps": {"steps": tenth},
        "the base": {"steps": tenth, **base},
        "the base, first layer frozen": {"steps": tenth, "freeze": ["conv1.*", "norm1.*"], **base},
        "the base, first layer frozen, average of weights": {
            "steps": tenth,
            "freeze": ["conv1.*", "norm1.*"],
            "ema": {"decay": "0.8"},
            **base,
        },
    }


def report(folder: Path, seeds: int) -> Iterator[str]:
    """Yield the lines of the table."""
    base = train(folder, "base", data="old", steps=BASE_STEPS, seed=1)
    yield f"base: {BASE_STEPS} steps on 8 species, test accuracy {accuracy(base):.3f}\n"
    yield "| start | steps | test accuracy, median | of each seed |"
    yield "| --- | ---: | ---: | --- |"
    for number, (way, how) in enumerate(ways(base["runID"]).items()):
        found = [
            accuracy(train(folder, f"way{number}-{seed}", data="new", seed=seed, **how))
            for seed in range(seeds)
        ]
        each = ", ".join(f"{value:.3f}" for value in found)
        yield f"| {way} | {how['steps']} | {statistics.median(found):.3f} | {each} |"


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", default="0.25", help="of the seedlings: their number and their sides")
    parser.add_argument("--share", type=float, default=0.3, help="of the new species' images: training rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        prepare(Path(temporary), options.scale, options.share)
        for line in report(Path(temporary), options.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
