"""A user's desk: one small dataset, one manifest, and the command line typed in this process."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seedbed.cli import main
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.storage import open_storage
from support.datasets.image_files import png


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What a command answered."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """Return the lines of stderr that tell of a failure; lines of progress begin with the job's name."""
        return [line for line in self.stderr.splitlines() if line and not line.startswith("tiny  ")]

    @property
    def status(self) -> dict[str, Any]:
        """Return the status on stdout; anything besides it is a defect."""
        return json.loads(self.stdout)


def spec(data: Path | str, output: Path | str) -> dict[str, Any]:
    """Return the spec of a training of 6 steps with W = 1."""
    return {
        "dataset": {"uri": str(data)},
        "model": {"name": "simple-cnn", "args": [{"name": "width", "value": "4"}]},
        "training": {
            "steps": 6,
            "seed": 3,
            "batch": {"globalSize": 8, "microSize": 4},
            "optimizer": {"type": "SGD", "learningRate": "0.05"},
            "augmentation": [{"type": "Resize", "resize": {"size": 12}}],
        },
        "evaluation": {"everySteps": 3},
        "checkpoint": {"everySteps": 2},
        "output": {"uri": str(output)},
        "cluster": {"feed": "Local"},
    }


def images(folder: Path, *, train: int = 8, validation: int = 3, test: int = 3, classes: int = 3) -> Path:
    """Write an image folder with explicit splits, so many pictures per class."""
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for label in range(classes if count else 0):
            below = folder / split / f"class{label}"
            below.mkdir(parents=True)
            for number in range(count):
                seed = zlib.crc32(f"{split} {label} {number}".encode())  # the same pictures in every process
                (below / f"{number}.png").write_bytes(png(seed, height=12, width=12))
    return folder


def dataset(folder: Path, **counts: int) -> Path:
    """Build a dataset and return its folder."""
    source = images(folder.with_name(folder.name + "-images"), **counts)
    options = BuildOptions(parallelism=1, shard_bytes=4_000, batch_bytes=1_000, engine="local")
    build_dataset(open_storage(str(source)), open_storage(str(folder)), options=options)
    return folder


@dataclass(kw_only=True)
class Scene:
    """A folder with a dataset, a manifest and an output folder."""

    folder: Path
    shared: Path
    """The dataset that all scenes read; `damaged` makes a copy."""
    capture: pytest.CaptureFixture[str]

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def manifest(self) -> Path:
        return self.folder / "job.yaml"

    def job(self, **changes: Any) -> Path:
        """Write the manifest; `training__steps=3` changes spec.training.steps, None removes a field."""
        document = {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "tiny"},
            "spec": spec(self.shared, self.runs),
        }
        for path, value in changes.items():
            block: Any = document["spec"]
            *parents, last = path.split("__")
            for parent in parents:
                block = block.setdefault(parent, {})
            block.pop(last, None)
            if value is not None:
                block[last] = value
        self.manifest.write_text(json.dumps(document), encoding="utf-8")
        return self.manifest

    def copied(self) -> Path:
        """Return a copy of the dataset that may be damaged."""
        return Path(shutil.copytree(self.shared, self.folder / "data"))

    def code(self, source: str) -> Path:
        """Write user code as the module `mine` and return its folder."""
        folder = self.folder / "code"
        folder.mkdir(exist_ok=True)
        (folder / "mine.py").write_text(source, encoding="utf-8")
        return folder

    def type(self, *words: object) -> Typed:
        """Type `seedbed …` in this process."""
        return typed(self.capture, *words)

    def run(self, *words: object) -> Typed:
        """Type `seedbed run -f job.yaml …`."""
        return self.type("run", "-f", self.manifest, *words)

    def trained(self, **changes: Any) -> Path:
        """Write the manifest, run it and return the folder of the run, which must be a new one."""
        before = set((self.runs / "runs").glob("*"))
        self.job(**changes)
        answer = self.run()
        assert answer.exit_code == 0, answer.stderr
        (folder,) = set((self.runs / "runs").glob("*")) - before
        return folder

    def run_folder(self) -> Path:
        """Return the one run folder of the output."""
        (found,) = (self.runs / "runs").iterdir()
        return found


def typed(capture: pytest.CaptureFixture[str], *words: object) -> Typed:
    """Run the command line in this process and return what it said; an exception that leaves it is a defect."""
    capture.readouterr()
    with _as_a_process(["seedbed", *map(str, words)]):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    out, err = capture.readouterr()
    return Typed(exit_code=code, stdout=out, stderr=err)


@contextmanager
def _as_a_process(arguments: list[str]) -> Iterator[None]:
    """Give the command its arguments, and take back the signal handlers that it sets."""
    before, handlers = sys.argv, {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    sys.argv = arguments
    try:
        yield
    finally:
        sys.argv = before
        for number, handler in handlers.items():
            signal.signal(number, handler)


def edited(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace a file's content, read-only or not."""
    data = change(file.read_bytes())
    file.chmod(0o644)
    file.write_bytes(data)


def flipped(data: bytes, *, at: int = -20) -> bytes:
    """Return the bytes with one bit the other way round."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
