"""Check of the model before any worker starts: it builds, takes the images, and is deterministic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.leaf_gradient import forward, normalize_pixels
from seedbed.arithmetic.torch_determinism import enforce_determinism
from seedbed.augmentation.transform_pipeline import output_size
from seedbed.environment.environment_pins import pinned_threads
from seedbed.feed import MicroBatch
from seedbed.training.error_attribution import attribute_errors
from seedbed.training.export_check import check_builds, check_export
from seedbed.training.initial_weights import start_from
from seedbed.training.loss_mapping import require_fitting_type
from seedbed.training.replica_builder import build_replica, check_patterns, require_determinism
from seedbed.training.worker_config import WorkerConfig
from seedbed.usercode.custom_metrics import probe_metrics
from seedbed.usercode.determinism_probe import probe_step
from seedbed.usercode.entrypoint_loader import load_entrypoint
from seedbed.usercode.network_check import check_network
from seedbed.usercode.process_globals import preserve_process_state
from seedbed_api.errors import UserError, refusal
from seedbed_api.metric_values import MULTI_LABEL, REGRESSION, SINGLE_LABEL


def check_model(config: WorkerConfig) -> None:
    """Raise `UserError("ModelError")` for a model that cannot be trained.

    A built-in model gets one image of the right size; user code runs a probe step. On a cluster the process
    may be any worker's, so it is set up here.
    """
    enforce_determinism(threads=pinned_threads())
    with attribute_errors(config):
        _check_size(config) if config.model.external is None else _check_user_model(config)


def _check_user_model(config: WorkerConfig) -> None:
    with preserve_process_state():
        _probe_user_code(config)


def _probe_user_code(config: WorkerConfig) -> None:
    source = config.model
    assert source.external is not None
    user = load_entrypoint(source.external, source.args, source.code)
    require_determinism(source)
    if user.objective is None:
        require_fitting_type(config.resolved["training"]["loss"]["type"], task=config.arithmetic.task)
    leaves = [_probe_batch(config, leaf) for leaf in range(min(2, config.arithmetic.leaves))]
    network = user.build(classes=config.arithmetic.classes, seed=config.arithmetic.seed)
    require_determinism(source)
    images = normalize_pixels(leaves[0].pixels_mhwc, config.arithmetic.normalisation, torch.device("cpu"))
    check_patterns(network, config.arithmetic)
    check_network(user, network, images_mchw=images, classes=config.arithmetic.classes)
    built = check_builds(user, network, config.arithmetic)
    probe_step(user, config.arithmetic, leaves, device=config.device)
    if config.arithmetic.task == SINGLE_LABEL:
        probe_metrics(user, classes=config.arithmetic.classes)
    check_export(user, network, built, config.arithmetic, leaves[0], device=config.device)
    if source.weights is not None:
        start_from(network, source.weights)
    require_determinism(source)


def _check_size(config: WorkerConfig) -> None:
    """Reject images that the network downsamples to nothing."""
    replica = build_replica(config.model, config.arithmetic, device="cpu")
    image = _probe_batch(config, 0).pixels_mhwc[:1]
    # BatchNorm cannot train on a single value, which a leaf of one small image may become
    replica.model.train(config.arithmetic.leaf_rows == 1)
    try:
        with torch.no_grad():
            forward(replica, normalize_pixels(image, config.arithmetic.normalisation, torch.device("cpu")))
    except (RuntimeError, ValueError) as error:
        size, line = image.shape[1], str(error).splitlines()[0]
        problem = f"{config.model.name} cannot take images of {size} x {size} pixels: {line[:200]}"
        fix = (
            "choose a larger size, or a larger microSize"
            if "than 1 value" in line
            else "choose a larger size"
        )
        raise UserError("ModelError", refusal("spec.training.augmentation", size, problem, fix)) from error


def _probe_targets(arithmetic: Arithmetic, generator: np.random.Generator) -> npt.NDArray[Any]:
    """Return targets of a leaf in the form of the task."""
    rows, outputs = arithmetic.leaf_rows, arithmetic.classes
    if arithmetic.task == MULTI_LABEL:
        return generator.integers(0, 2, (rows, outputs), dtype=np.uint8)
    if arithmetic.task == REGRESSION:
        return generator.standard_normal((rows, outputs))
    return np.arange(rows, dtype=np.int64) % outputs


def _probe_batch(config: WorkerConfig, leaf: int) -> MicroBatch:
    """Return fixed random images of the right shape: the probe needs no data, and repeats its result."""
    size = output_size(config.stream.transforms)
    assert size is not None, "every recipe has one transform that sets the size"
    rows = config.arithmetic.leaf_rows
    generator = np.random.Generator(np.random.Philox(key=leaf))
    pixels = generator.integers(0, 256, (rows, size, size, 3), dtype=np.uint8)
    return MicroBatch(
        step=0,
        leaf=leaf,
        rows_m=np.arange(rows, dtype=np.int64),
        labels_m=_probe_targets(config.arithmetic, generator),
        pixels_mhwc=pixels,
    )
