"""Draw a synthetic substitute for the V2 Plant Seedlings set: 12 species, its class counts and image sizes.

Each species has its own leaf count, length, width, curl, hue and lobes; each plant varies around them on a
background of soil. An image is a function of (seed, species, number, scale).
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SMALLEST, LARGEST = 49, 3652
"""Shortest and longest side in pixels of the real set."""
_MEDIAN = 270
_SPREAD = 0.75


class Species(NamedTuple):
    """The look of a species; lengths are fractions of the picture's side."""

    count: int
    leaves: tuple[int, int]
    length: float
    width: float
    curl: float
    green: tuple[int, int, int]
    lobes: int


SPECIES = {
    "Black-grass": Species(309, (1, 3), 0.44, 0.018, 0.5, (96, 140, 70), 0),
    "Charlock": Species(452, (3, 5), 0.30, 0.15, 0.2, (70, 140, 60), 2),
    "Cleavers": Species(335, (5, 8), 0.28, 0.06, 0.1, (60, 130, 80), 0),
    "Common Chickweed": Species(713, (4, 8), 0.20, 0.09, 0.1, (90, 160, 60), 0),
    "Common wheat": Species(253, (1, 3), 0.48, 0.030, 0.7, (80, 150, 60), 0),
    "Fat Hen": Species(538, (4, 6), 0.26, 0.08, 0.1, (110, 150, 110), 1),
    "Loose Silky-bent": Species(762, (1, 4), 0.42, 0.010, 0.9, (110, 150, 80), 0),
    "Maize": Species(257, (2, 4), 0.46, 0.065, 0.4, (70, 150, 50), 0),
    "Scentless Mayweed": Species(607, (5, 9), 0.30, 0.02, 0.2, (80, 150, 70), 4),
    "Shepherd's Purse": Species(274, (6, 9), 0.30, 0.05, 0.1, (90, 130, 60), 3),
    "Small-flowered Cranesbill": Species(576, (3, 6), 0.30, 0.17, 0.3, (80, 120, 60), 5),
    "Sugar beet": Species(463, (2, 5), 0.36, 0.11, 0.3, (60, 150, 40), 0),
}  # fmt: skip


def side_length(rng: np.random.Generator, scale: Fraction) -> int:
    """Draw a side in pixels: log-normal, within the range of the real set, times the scale."""
    side = min(LARGEST, max(SMALLEST, round(_MEDIAN * math.exp(rng.normal(0, _SPREAD)))))
    return max(16, int(side * scale))


def _soil(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return a background of grains in brown and gray, drawn coarse and enlarged."""
    coarse = max(8, width // 6), max(8, height // 6)
    tone = np.array([120, 100, 80]) + rng.integers(-25, 26, 3)
    grains = rng.normal(0, 28, (coarse[1], coarse[0], 1)) + rng.normal(0, 6, (coarse[1], coarse[0], 3)) + tone
    small = Image.fromarray(np.clip(grains, 0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _leaf(rng: np.random.Generator, species: Species, angle: float, side: int) -> list[tuple[float, float]]:
    """Return the outline of a leaf around the origin as a closed polygon in pixels."""
    length = species.length * side * rng.uniform(0.75, 1.15)
    bend = species.curl * rng.uniform(-1, 1)
    along = np.linspace(0, 1, 25)
    shape = np.sin(np.pi * along**0.8) * (
        1 + 0.35 * np.sin(2 * np.pi * species.lobes * along) * (species.lobes > 0)
    )
    half = np.maximum(species.width * side * shape / 2, 0.4)
    direction = angle + bend * along
    middle = np.stack([np.cos(direction), np.sin(direction)], 1) * (along * length)[:, None]
    normal = np.stack([-np.sin(direction), np.cos(direction)], 1)
    outline = np.concatenate([middle + normal * half[:, None], (middle - normal * half[:, None])[::-1]])
    return [(float(x), float(y)) for x, y in outline]


def plant(species: Species, rng: np.random.Generator, scale: Fraction) -> Image.Image:
    """Draw one plant on soil; the picture is nearly square, as crops of single plants are."""
    width = side_length(rng, scale)
    height = max(16, min(int(LARGEST * scale), round(width * rng.uniform(0.9, 1.1))))
    picture = _soil(rng, width, height)
    draw, side = ImageDraw.Draw(picture), min(width, height)
    middle = width / 2 + rng.normal(0, 0.03) * side, height / 2 + rng.normal(0, 0.03) * side
    leaves = int(rng.integers(species.leaves[0], species.leaves[1] + 1))
    start = rng.uniform(0, 2 * math.pi)
    for leaf in range(leaves):
        angle = start + 2 * math.pi * leaf / leaves + rng.normal(0, 0.2)
        shade = np.clip(np.array(species.green) + rng.integers(-18, 19), 0, 255)
        outline = [(x + middle[0], y + middle[1]) for x, y in _leaf(rng, species, angle, side)]
        draw.polygon(outline, fill=(int(shade[0]), int(shade[1]), int(shade[2])))
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def write_plant(name: str, number: int, *, folder: Path, seed: int, scale: Fraction) -> None:
    """Draw and write picture `number` of a species."""
    rng = np.random.default_rng([seed, list(SPECIES).index(name), number])
    target = folder / name / f"{number + 1}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    plant(SPECIES[name], rng, scale).save(target, compress_level=1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--scale", default="1", show_default=True, help="Factor of counts and side lengths, such as 0.1."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
def main(folder: Path, scale: str, seed: int, processes: int) -> None:
    """Write the images to FOLDER/<species>/<number>.png."""
    factor = Fraction(scale)
    counts = {name: max(2, round(species.count * factor)) for name, species in SPECIES.items()}
    pictures = [(name, number) for name, count in counts.items() for number in range(count)]
    write = partial(write_plant, folder=folder, seed=seed, scale=factor)
    if processes == 1:
        list(starmap(write, pictures))
    else:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(write, *zip(*pictures, strict=True), chunksize=64))
    click.echo(f"wrote {len(pictures)} images in {len(SPECIES)} classes to {folder}")


if __name__ == "__main__":
    main()
