"""The process-wide switches that the bits depend on; call once, before the first kernel."""

from __future__ import annotations

import os

import torch

_ERROR = 2
"""What torch calls the mode in which an operation without a fixed order raises."""


def fix_determinism(*, threads: int = 1, fill_uninitialised: bool = False) -> None:
    """Turn off everything that may change bits from run to run; an operation without a fixed order raises.

    `threads` is the number of intra-op threads: CPU bits depend on it. `fill_uninitialised` makes reads of
    uninitialised memory show up (tests); it costs time on a GPU.
    """
    # cuBLAS reads it when CUDA starts; deterministic mode refuses to run without it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # sets the same flag as use_deterministic_algorithms(True), which would import the compiler (seconds)
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = fill_uninitialised  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    keep_denormals()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def keep_denormals() -> None:
    """Have this thread, and those it starts, compute with numbers below 1e-38 rather than take them for zero.

    Any library can switch that off for the thread that loads it, and those built with -ffast-math do.
    It takes less than a microsecond.
    """
    torch.set_flush_denormal(False)


def is_deterministic(*, threads: int) -> bool:
    """Say whether the switches are still as `fix_determinism` left them."""
    return (
        torch.get_deterministic_debug_mode() == _ERROR
        and torch.get_num_threads() == threads
        and not torch.backends.cudnn.benchmark
        and torch.backends.cudnn.deterministic
        and not torch.backends.cuda.matmul.allow_tf32
    )
