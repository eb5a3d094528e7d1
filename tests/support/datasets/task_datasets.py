"""Small datasets of every task, built by the command's own code from images and a CSV file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from support.datasets.image_files import build, write_files

LABELS = ("blue", "green", "red")
LOSSES = {
    "single-label": [{"type": "Focal", "focal": {"gamma": "1.5"}}],
    "multi-label": [
        {
            "type": "BinaryCrossEntropy",
            "binaryCrossEntropy": {
                "positiveWeights": [{"name": "red", "weight": "2"}],
                "labelSmoothing": "0.1",
            },
        },
        {"type": "Focal", "focal": {"gamma": "1.5"}},
    ],
    "regression": [{"type": "MeanSquaredError"}, {"type": "Huber", "huber": {"delta": "0.5"}}],
}


def a_task_dataset(folder: Path, task: str, *, rows: int = 60, scale: float = 1 / 16) -> Path:
    """Build pictures of coloured corners: which colours, how many, or how high and wide the corner is, times a scale."""
    draw = np.random.default_rng(7)
    columns = {"single-label": "label", "multi-label": "labels", "regression": "height,width"}
    files, lines = {}, [f"image,{columns[task]}"]
    for number in range(rows):
        on, (height, width) = draw.integers(0, 2, 3), draw.integers(2, 14, 2)
        pixels = draw.integers(0, 30, (16, 16, 3), dtype=np.uint8)
        pixels[:height, :width, on[::-1] > 0] += 200
        files[f"{number}.png"] = _png(pixels)
        labels = "|".join(name for name, has in zip(LABELS, on, strict=True) if has)
        numbers = f"{height * scale},{width * scale}"
        targets = {"single-label": f"{on.sum()} colours", "multi-label": labels, "regression": numbers}
        lines.append(f"{number}.png,{targets[task]}")
    source = write_files(folder / "source", files | {"t.csv": "\n".join(lines).encode()})
    target = ("height", "width") if task == "regression" else ()
    build(source, folder / "dataset", csv="t.csv", task=task, target=target)
    return folder / "dataset"


def _png(pixels: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()
