"""Attribution of errors during training: to the user's model, to exhausted memory, or to Seedbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from seedbed.models.model_errors import ModelOutputError
from seedbed.training.worker_config import WorkerConfig
from seedbed.usercode.entrypoint_loader import attribute_loaded_errors
from seedbed.usercode.user_error_messages import is_out_of_memory
from seedbed_api.errors import InfrastructureError, UserError


@contextmanager
def attribute_errors(config: WorkerConfig) -> Iterator[None]:
    """Raise UserError ModelError for errors of the model, InfrastructureError OutOfMemory; pass others on."""
    try:
        with attribute_loaded_errors(config.model.external):
            yield
    except ModelOutputError as error:
        fix = "" if "; " in str(error) else "; change the network"
        raise UserError("ModelError", f"spec.model: {error}{fix}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        rows = config.arithmetic.leaf_rows
        fix = f"lower spec.training.batch.microSize (now {rows}), or give the workers more memory"
        raise InfrastructureError("OutOfMemory", f"{config.device} memory is exhausted; {fix}") from error
