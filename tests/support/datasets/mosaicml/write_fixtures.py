"""Write the MDS fixtures beside this file with mosaicml-streaming, and what it reads from them.

It needs an environment of its own, as mosaicml-streaming needs an older NumPy than torch does here:
`uv venv peer && uv pip install --python peer/bin/python mosaicml-streaming && peer/bin/python write_fixtures.py`
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from streaming import MDSWriter, StreamingDataset

HERE = Path(__file__).parent
NAMES = ("cat", "dog")
COLUMNS = {
    "png": {"image": "png", "label": "int"},
    "jpeg": {"image": "jpeg", "label": "str", "note": "json"},
    "pil": {"image": "pil", "label": "uint8"},
}


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str) -> Image.Image:
    """Return an image that was opened from a file: streaming then stores its bytes."""
    sink = io.BytesIO()
    image.save(sink, kind.upper())
    return Image.open(io.BytesIO(sink.getvalue()))


def main() -> None:
    for kind, columns in COLUMNS.items():
        folder = HERE / kind
        with MDSWriter(out=str(folder), columns=columns, size_limit=2_500) as writer:
            for number in range(12):
                image = picture(number) if kind == "pil" else encoded(picture(number), kind)
                label = NAMES[number % 2] if columns["label"] == "str" else number % 2
                writer.write({"image": image, "label": label, "note": {"number": number}})
        rows = StreamingDataset(local=str(folder), shuffle=False, batch_size=1)
        read = [
            [hashlib.sha256(np.asarray(row["image"]).tobytes()).hexdigest(), row["label"]]
            for row in map(rows.__getitem__, range(12))
        ]
        read = [[digest, label if isinstance(label, str) else int(label)] for digest, label in read]
        (folder / "as_streaming_reads.json").write_text(json.dumps(read, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
