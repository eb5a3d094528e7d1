"""StreamSpec: all that a process needs to make the samples of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seedbed.augmentation import Transform
from seedbed.order import WINDOW

DEFAULT_CACHE_BYTES: Final = 20 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSpec:
    """Dataset, view, seed, plan, transforms and caches. Picklable, hashable, a few hundred bytes."""

    dataset_url: str
    digest: str | None
    """Pinned dataset digest; a dataset with another digest is refused."""
    seed: int
    leaves: int
    leaf_rows: int
    total_steps: int
    epochs: int | None = None
    """Epochs of the run if its length is given in epochs; decides which rows are fill rows."""
    transforms: tuple[Transform, ...] = ()
    window: int = WINDOW
    split: str = "train"
    subset: str | None = None
    fold: tuple[int, int] | None = None
    checked_indices: str | None = None
    """`Dataset.indices_digest` of the dataset whose rows the driver has checked; with other indices, or None,
    each process checks the rows that a subset or a fold selects from."""
    secret: Path | None = None
    cache_folder: Path | None = None
    """Shared by the processes of a node; None: a bounded number of record batches in memory."""
    cache_bytes: int = DEFAULT_CACHE_BYTES
    """Bound of record batches and decoded images together."""
    shared: bool = False
    """Other runs on this node read the same images (a sweep): each is decoded once for all of them."""
    read_in_place: bool = True
    """Read local datasets in place; False reads them through the cache like remote ones."""
    retry_seconds: float = 60.0
