"""The document beside the model file: it follows from the recipe and the classes. Imports no torch."""

from __future__ import annotations

from seedbed.augmentation.transform_pipeline import output_size
from seedbed.runs.model_files import model_config
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.metric_values import SINGLE_LABEL


def model_config_document(config: WorkerConfig) -> dict[str, object]:
    """Return the document that is stored beside the model file: architecture, classes, input size."""
    size = output_size(config.stream.transforms)
    assert size is not None, "every recipe has one transform that sets the size"
    normalization = config.resolved["training"]["normalization"]
    return model_config(
        name=config.model.name,
        entrypoint=config.model.entrypoint,
        arguments=config.model.args,
        classes=list(config.classes),
        image_size=size,
        mean=normalization["mean"],
        std=normalization["std"],
        task=None if config.arithmetic.task == SINGLE_LABEL else config.arithmetic.task,
    )
