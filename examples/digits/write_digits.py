"""Write the handwritten digits that ship with scikit-learn as PNG files, one folder per class.

The files are the same bytes on every run: 1,797 gray images of 8 x 8 pixels, enlarged to 32 x 32.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

_LEVELS = 16


def picture(levels_hw: np.ndarray, size: int) -> Image.Image:
    """Return levels 0..16, shape (8, 8), as a gray picture of `size` x `size` pixels."""
    gray = np.round(levels_hw * (255 / _LEVELS)).astype(np.uint8)
    return Image.fromarray(gray).resize((size, size), Image.Resampling.BICUBIC)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--size", type=click.IntRange(8, 512), default=32, show_default=True, help="Pixels per side.")
def main(folder: Path, size: int) -> None:
    """Write the images to FOLDER/<digit>/<number>.png."""
    digits = load_digits()
    for number, (levels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        target = folder / str(digit) / f"{number:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture(levels, size).save(target, compress_level=6)
    click.echo(f"wrote {len(digits.target)} images in 10 classes to {folder}")


if __name__ == "__main__":
    main()
