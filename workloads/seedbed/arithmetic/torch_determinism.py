"""Process-wide determinism settings of torch; set once, before the first kernel."""

from __future__ import annotations

import os

import torch

_ERROR = 2
"""torch's number of the mode in which an operation without a fixed order raises."""

_WITH_MKLDNN = torch.backends.mkldnn.enabled


def enforce_determinism(*, threads: int = 1, fill_uninitialised: bool = False) -> None:
    """Disable everything that may change bits from run to run; an operation without a fixed order raises.

    `threads` is the number of intra-op threads: CPU bits depend on it. `fill_uninitialised` makes reads of
    uninitialised memory visible (tests); it costs time on a GPU.
    """
    # cuBLAS reads it when CUDA starts; deterministic mode refuses to run without it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # sets the same flag as use_deterministic_algorithms(True), which would import the compiler (seconds)
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = fill_uninitialised  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    enable_denormals()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def enable_denormals() -> None:
    """Make this thread, and those that it starts, compute with denormals instead of flushing them to zero.

    A library can disable that for the thread that loads it; those built with -ffast-math do. Takes less than
    a microsecond.
    """
    torch.set_flush_denormal(False)


def changed_switches(*, threads: int) -> list[str]:
    """Return the settings that differ from torch's defaults and those of `enforce_determinism`."""
    expected = {
        "torch.use_deterministic_algorithms": torch.get_deterministic_debug_mode() == _ERROR,
        "torch.set_num_threads": torch.get_num_threads() == threads,
        "torch.set_grad_enabled": torch.is_grad_enabled(),
        "torch.set_default_dtype": torch.get_default_dtype() is torch.float32,
        "torch.set_default_device": torch.get_default_device() == torch.device("cpu"),
        "torch.set_float32_matmul_precision": torch.get_float32_matmul_precision() == "highest",
        "torch.backends.mkldnn.enabled": torch.backends.mkldnn.enabled == _WITH_MKLDNN,
        "torch.backends.cudnn.benchmark": not torch.backends.cudnn.benchmark,
        "torch.backends.cudnn.deterministic": torch.backends.cudnn.deterministic,
        "torch.backends.cudnn.allow_tf32": not torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": not torch.backends.cuda.matmul.allow_tf32,
    }
    return [name for name, unchanged in expected.items() if not unchanged]
