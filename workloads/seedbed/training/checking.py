"""Before any worker starts: does the model build, fit the pictures, and repeat itself?"""

from __future__ import annotations

import numpy as np
import torch

from seedbed.arithmetic.leaf import normalised
from seedbed.augmentation.pipeline import output_size
from seedbed.feed import MicroBatch
from seedbed.training.building import build_replica
from seedbed.training.programs import TrainingProgram


def check_model(program: TrainingProgram) -> None:
    """Raise `UserError("ModelError")` for a model that cannot be trained.

    A model of the registry need only be built; user code runs a probe step on made-up pictures.
    """
    source = program.model
    if source.entrypoint is None:
        build_replica(source, program.arithmetic, device="cpu")
        return
    from seedbed.usercode.loading import check_network, load_entrypoint
    from seedbed.usercode.probing import probe_step

    user = load_entrypoint(source.entrypoint, source.args, source.code)
    leaves = [_made_up(program, leaf) for leaf in range(min(2, program.arithmetic.leaves))]
    network = user.build(classes=program.arithmetic.classes, seed=program.arithmetic.seed)
    images = normalised(leaves[0].pixels_mhwc, program.arithmetic.normalisation, torch.device("cpu"))
    check_network(user, network, images_mchw=images, classes=program.arithmetic.classes)
    probe_step(user, program.arithmetic, leaves, device=program.device)


def _made_up(program: TrainingProgram, leaf: int) -> MicroBatch:
    """Return pictures of the right shape: a probe needs no data, and fixed ones make its verdict repeat."""
    size = output_size(program.stream.transforms)
    assert size is not None, "every recipe has one transform that sets the size"
    rows = program.arithmetic.leaf_rows
    generator = np.random.Generator(np.random.Philox(key=leaf))
    return MicroBatch(
        step=0,
        leaf=leaf,
        rows_m=np.arange(rows, dtype=np.int64),
        labels_m=np.arange(rows, dtype=np.int64) % program.arithmetic.classes,
        pixels_mhwc=generator.integers(0, 256, (rows, size, size, 3), dtype=np.uint8),
    )
