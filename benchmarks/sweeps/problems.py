"""The small real sweep: the same images, points, network and optimizer for Seedbed and its peers."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweeps.digits import BATCH, MOMENTUM, REDUCTION, SIZE, SLOTS, WIDTH

ROOT = Path(__file__).parents[2]
POINTS, EPOCHS = 18, 9
"""Of the random search that sets the target."""
TOLERANCE = 1e-6
"""Of a loss that was printed."""
MOST_POINTS = 54
"""That a search may try on its way there; the first are those of the random search."""
CLI = [sys.executable, "-m", "seedbed.cli"]


class Digits:
    """A folder with scikit-learn's digits, and as many output stores as a measurement needs."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder, self.seed = folder, seed
        write = [sys.executable, str(ROOT / "examples/digits/write_digits.py"), str(folder / "images")]
        build = [*CLI, "dataset", "build", str(folder / "images"), str(folder / "digits")]
        for command in (write, build):
            subprocess.run(command, check=True, capture_output=True)

    def manifest(self, store: str, *, points: int = POINTS, epochs: int = EPOCHS, **changes: Any) -> Path:
        """Write a SweepJob whose proposals are those of the seed, with an output store of its own."""
        recipe = {
            "dataset": {"uri": str(self.folder / "digits")},
            "model": {"name": "simple-cnn", "args": [{"name": "width", "value": str(WIDTH)}]},
            "training": {
                "epochs": epochs,
                "seed": 42,
                "batch": {"globalSize": BATCH, "microSize": BATCH},
                "optimizer": {"type": "SGD", "learningRate": "0.1", "sgd": {"momentum": str(MOMENTUM)}},
                "augmentation": [{"type": "Resize", "resize": {"size": SIZE}}],
            },
            "evaluation": {"everyEpochs": 1},
        }
        spec = {
            "objective": {"metric": "validation/loss", "direction": "Minimize"},
            "algorithm": {"type": "Random", "seed": self.seed},
            "parameters": [
                _scale("lr", "spec.training.optimizer.learningRate", "1e-4", "1"),
                _scale("decay", "spec.training.optimizer.weightDecay", "1e-6", "1e-2"),
            ],
            "trialTemplate": {"spec": recipe},
            "maxTrialCount": points,
            "maxFailedTrialCount": points,
            "parallelTrialCount": SLOTS,
            "output": {"uri": str(self.folder / store)},
        }
        job = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "SweepJob", "metadata": {"name": "digits"}}
        path = self.folder / f"{store}.json"
        path.write_text(json.dumps(job | {"spec": spec | changes}))
        return path

    def run(self, manifest: Path) -> dict[str, Any]:
        """Run a sweep to its end and return its status."""
        answer = subprocess.run(
            [*CLI, "run", "-f", str(manifest), "-o", "json"], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            raise SystemExit(f"{manifest}: exit code {answer.returncode}\n{answer.stderr[-3000:]}")
        return dict(json.loads(answer.stdout))

    def forget(self, store: str) -> None:
        """Remove what says that the sweeps of a store have ended."""
        shutil.rmtree(self.folder / store / "sweeps")

    def evaluations(self, store: str) -> dict[str, tuple[float, float]]:
        """Return when each trial-epoch of a store was evaluated, and its loss, by path."""
        found = {}
        for path in (self.folder / store).glob("runs/*/evaluations/validation-*.json"):
            document = json.loads(path.read_text())["document"]
            loss = int(document["loss"]) / document["lossScale"] / document["samples"]
            found[str(path)] = (path.stat().st_mtime, loss)
        return found

    def cases(self, measure: Callable[[list[str]], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Measure Seedbed and its peers, each with the best loss of its own random search as target."""
        best = self.run(self.manifest("random"))["bestTrial"]["objective"]
        asha = {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": REDUCTION, "minEpochs": 1}}
        search = {
            "earlyStopping": asha,
            "objective": {"metric": "validation/loss", "direction": "Minimize", "target": best},
        }
        yield self._ours("seedbed", self.manifest("fresh", points=MOST_POINTS, **search), measure)
        self.run(self.manifest("half", points=POINTS // 2))
        half = self.manifest("half", points=MOST_POINTS, **search)
        yield self._ours("seedbed, half computed before", half, measure)
        script = str(Path(__file__).with_name("digits.py"))
        points = self._points()
        problem = self._problem(points[:POINTS], target=0.0)
        found = measure([sys.executable, script, "random", str(problem)])
        yield {"case": "random", "seed": self.seed, "reached": True} | found
        problem = self._problem(points, target=found["best"])
        for case in ("tune-asha", "optuna-hyperband"):
            yield {"case": case, "seed": self.seed} | measure([sys.executable, script, case, str(problem)])

    def _ours(
        self, case: str, manifest: Path, measure: Callable[[list[str]], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return what Seedbed took until the target was evaluated, as the peers, which end there."""
        store, program = manifest.stem, str(Path(__file__).with_name("ours.py"))
        target = float(json.loads(manifest.read_text())["spec"]["objective"]["target"]) + TOLERANCE
        before = self.evaluations(store)
        figures = measure([sys.executable, program, str(manifest)])
        new = sorted(value for path, value in self.evaluations(store).items() if path not in before)
        known = any(loss <= target for _, loss in before.values())
        hit = next((number for number, (_, loss) in enumerate(new) if loss <= target), None)
        row = {"case": case, "seed": self.seed, "allEpochs": len(new), "wholeWall": figures.get("wall")}
        row |= figures | {"reached": known or hit is not None, "epochs": 0 if known else len(new)}
        if hit is not None and not known:
            row |= {"epochs": hit + 1, "wall": new[hit][0] - figures["began"]}
        return row

    def _problem(self, points: list[dict[str, float]], *, target: float) -> Path:
        path = self.folder / "problem.json"
        document = {
            "pictures": str(self._pictures()),
            "points": points,
            "epochs": EPOCHS,
            "target": target,
        }
        path.write_text(json.dumps(document))
        return path

    def _points(self) -> list[dict[str, float]]:
        from seedbed.search.samplers import create_sampler
        from seedbed_api.manifest_loader import read_document, sweep_job

        job = sweep_job(*read_document(self.manifest("points", points=MOST_POINTS), wanted="SweepJob"))
        propose = create_sampler(job.spec).propose
        points = [dict(propose(index, [])) for index in range(MOST_POINTS)]
        return [{name: float(value) for name, value in point.items()} for point in points]

    def _pictures(self) -> Path:
        """Write the rows of train and validation as arrays."""
        import numpy as np
        import pyarrow as pa
        from PIL import Image

        path = self.folder / "pictures.npz"
        manifest = json.loads((self.folder / "digits/manifest.json").read_text())
        arrays = {}
        for split in ("train", "validation"):
            tables = [
                pa.ipc.open_file(pa.memory_map(str(self.folder / "digits" / shard["path"]))).read_all()
                for shard in manifest["shards"]
                if shard["split"] == split
            ]
            rows = pa.concat_tables(tables)
            pictures = [
                np.array(Image.open(io.BytesIO(image.as_py())).convert("RGB").resize((SIZE, SIZE)))
                for image in rows["image"]
            ]
            arrays[split] = np.stack(pictures)
            arrays[f"{split}_labels"] = np.array(rows["label"].to_pylist(), np.int64)
        np.savez(path, **arrays)
        return path


def _scale(name: str, path: str, low: str, high: str) -> dict[str, Any]:
    return {"name": name, "fieldPath": path, "searchSpace": {"logUniform": {"min": low, "max": high}}}
