"""What an exception in the middle of a training says about its cause: the model, the memory, or a defect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from seedbed.arithmetic.leaf import ModelOutputError
from seedbed.training.programs import TrainingProgram
from seedbed.usercode.loading import blaming_loaded
from seedbed_api.errors import InfrastructureError, UserError

_NO_MEMORY = ("can't allocate memory", "out of memory")


@contextmanager
def telling_causes(program: TrainingProgram) -> Iterator[None]:
    """Raise UserError ModelError for what the model did, InfrastructureError OutOfMemory; a defect passes."""
    try:
        with blaming_loaded(program.model.entrypoint):
            yield
    except ModelOutputError as error:
        raise UserError("ModelError", f"spec.model: {error}; change the network") from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        rows = program.arithmetic.leaf_rows
        fix = f"lower spec.training.batch.microSize (now {rows}), or give the workers more memory"
        raise InfrastructureError("OutOfMemory", f"{program.device} memory is exhausted; {fix}") from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in str(error) for words in _NO_MEMORY
    )
