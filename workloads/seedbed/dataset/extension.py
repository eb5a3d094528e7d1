"""Extend a dataset with the files of a source: a new version that keeps each shard of the one before.

The options by which sources become rows are those of the dataset, so old and new rows are made alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seedbed.dataset.builder import BuildOptions, BuildResult, OnProgress, build_dataset
from seedbed.dataset.lineage import Addition, read_addition
from seedbed.dataset.reader import open_dataset
from seedbed.dataset.targets import REGRESSION
from seedbed.storage import Storage


@dataclass(frozen=True, kw_only=True, slots=True)
class Extension:
    """The result of an extension."""

    result: BuildResult
    addition: Addition | None
    """None where every file was there already: no version was made."""


def extend_dataset(
    source: Storage, dest: Storage, *, options: BuildOptions, progress: OnProgress = lambda *_: None
) -> Extension:
    """Add the rows of a source to the dataset at DEST.

    Of `options`, split, image size, encoding, grouping and task are replaced by those of the dataset.
    Raises what `build_dataset` raises, and `UserError("InvalidDataset")` where there is no dataset.
    """
    dataset = open_dataset(dest)
    recipe = dataset.manifest.recipe
    asked = recipe.conversions or {}
    options = replace(
        options,
        append=True,
        split=",".join(f"{name}={value}" for name, value in recipe.split.items()),
        image_size=recipe.image_size,
        encoding=recipe.encoding,
        group_by=recipe.group_by,
        alpha=asked.get("alpha"),
        depth=asked.get("depth"),
        cmyk=asked.get("cmyk"),
        frames=asked.get("frames"),
        task=dataset.task,
        target=options.target or (dataset.classes if dataset.task == REGRESSION else ()),
    )
    result = build_dataset(source, dest, options=options, progress=progress)
    extended = result.outcome == "extended"
    return Extension(
        result=result, addition=read_addition(dest, result.manifest.digest) if extended else None
    )
