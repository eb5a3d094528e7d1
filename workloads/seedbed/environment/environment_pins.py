"""Environment pins: variables that fix the CPU instructions and the number of threads of float arithmetic.

torch, MKL, oneDNN and OpenBLAS read them when they are loaded, so this module imports none of them.
The observed effect of each variable is in docs/adr/0006-cpu-class.md.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from seedbed_api.errors import UserError, refusal

CPU_CLASS_VARIABLE = "SEEDBED_CPU_CLASS"
THREADS_VARIABLE = "SEEDBED_THREADS"
HASH_SEED_VARIABLE = "PYTHONHASHSEED"


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuClass:
    """An instruction set that many machines share, and the setting of each library that selects it."""

    name: str
    cpu_flags: frozenset[str]
    """Flags of /proc/cpuinfo that a CPU of this class must have."""
    aten: str
    onednn: str | None
    mkl_branch: str | None
    mkl_branch_code: int | None
    """Code that MKL returns for this branch."""
    openblas: str | None
    numpy_without: str | None
    """CPU features that numpy must not use in this class."""


_AVX2_FLAGS = frozenset({"avx2", "fma", "f16c", "bmi2"})
_AVX512_FLAGS = _AVX2_FLAGS | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}

CPU_CLASSES: Mapping[str, CpuClass] = {
    "generic": CpuClass(
        name="generic",
        cpu_flags=frozenset(),
        aten="default",
        onednn=None,
        mkl_branch=None,
        mkl_branch_code=None,
        openblas=None,
        numpy_without=None,
    ),
    "baseline": CpuClass(
        name="baseline",
        cpu_flags=frozenset({"sse4_1", "sse4_2"}),
        aten="default",
        onednn="SSE41",
        mkl_branch="COMPATIBLE",
        mkl_branch_code=3,
        openblas="Nehalem",
        numpy_without="X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    ),
    "avx2": CpuClass(
        name="avx2",
        cpu_flags=_AVX2_FLAGS,
        aten="avx2",
        onednn="AVX2",
        mkl_branch="AVX2",
        mkl_branch_code=10,
        openblas="Haswell",
        numpy_without="X86_V4 AVX512_ICL AVX512_SPR",
    ),
    "avx512": CpuClass(
        name="avx512",
        cpu_flags=_AVX512_FLAGS,
        aten="avx512",
        onednn="AVX512_CORE",
        mkl_branch="AVX512",
        mkl_branch_code=12,
        openblas="SkylakeX",
        numpy_without="AVX512_ICL AVX512_SPR",
    ),
}

_SAME_FOR_EVERY_CLASS: Mapping[str, str] = {
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NVIDIA_TF32_OVERRIDE": "0",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",
    HASH_SEED_VARIABLE: "0",
}
_CONFLICTING_PREFIXES = (
    "ATEN_", "CUBLASLT_", "CUBLAS_", "CUDNN_", "DNNL_", "FBGEMM_", "GOTO_", "KMP_", "MKL_", "NPY_", "ONEDNN_",
    "OPENBLAS_", "PYTORCH_JIT", "PYTORCH_TENSOREXPR", "PYTORCH_TUNABLEOP_", "TORCHDYNAMO_", "TORCHINDUCTOR_",
    "TORCH_BLAS_", "TORCH_COMPILE_", "TORCH_CUBLAS", "TORCH_CUDNN_", "TORCH_LINALG_", "TORCH_LINEAR_",
    "TORCH_MKLDNN_",
)  # fmt: skip
"""Prefixes of variables that select other kernels or another number of threads than the pins."""
_CONFLICTING_NAMES = frozenset({
    "DISABLE_ADDMM_CUDA_LT", "OMP_ADAPTIVE", "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED", "OMP_NUM_TEAMS",
    "OMP_SCHEDULE", "OMP_TEAMS_THREAD_LIMIT", "OMP_THREAD_LIMIT",
})  # fmt: skip
_HARMLESS_NAME = re.compile(
    r"VERBOSE|_LOG|_CACHE|_AFFINITY|_BLOCKTIME|_STACKSIZE|_SETTINGS|_DUPLICATE_LIB|_INIT_AT_FORK"
)
"""Parts of names with these prefixes that only affect logs or speed; sklearn sets some."""
_TUNABLES_VARIABLE = "GLIBC_TUNABLES"
_TUNABLES_OF_THE_CPU = ("glibc.cpu.", "glibc.tune.")
"""They select implementations of cos, exp and pow in the C library, which differ by an ulp."""
# For speed: the allocator reuses buffers of decoded images instead of returning them to the kernel.
_MALLOC_THRESHOLD_BYTES = 512 * 1024 * 1024
_MALLOC: Mapping[str, str] = {
    "MALLOC_TRIM_THRESHOLD_": str(_MALLOC_THRESHOLD_BYTES),
    "MALLOC_MMAP_THRESHOLD_": str(_MALLOC_THRESHOLD_BYTES),
}


def pinned_variables(cpu_class: str, *, threads: int = 1) -> dict[str, str]:
    """Return the bit-relevant variables of a class, for this process, a Ray `runtime_env` or a pod."""
    chosen = CPU_CLASSES[cpu_class]
    per_class = {
        "ATEN_CPU_CAPABILITY": chosen.aten,
        "ONEDNN_MAX_CPU_ISA": chosen.onednn,
        "MKL_CBWR": chosen.mkl_branch,
        "OPENBLAS_CORETYPE": chosen.openblas,
        "NPY_DISABLE_CPU_FEATURES": chosen.numpy_without,
    }
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    named = {CPU_CLASS_VARIABLE: cpu_class, THREADS_VARIABLE: str(threads)}
    return {
        **{k: v for k, v in per_class.items() if v is not None},
        **count,
        **_SAME_FOR_EVERY_CLASS,
        **named,
    }


def start_pins(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are read only at the start of a process; None means unset."""
    tunables = environ.get(_TUNABLES_VARIABLE, "").split(":")
    harmless = [each for each in tunables if not each.strip().startswith(_TUNABLES_OF_THE_CPU)]
    return {
        HASH_SEED_VARIABLE: _SAME_FOR_EVERY_CLASS[HASH_SEED_VARIABLE],
        _TUNABLES_VARIABLE: ":".join(harmless) or None,
        "LD_HWCAP_MASK": None,
    }


def conflicting_variables(environ: Mapping[str, str], pins: Mapping[str, str]) -> list[str]:
    """Return the variables that would override the pins, in order of name."""
    return sorted(
        name
        for name in environ
        if name not in pins
        and (
            name in _CONFLICTING_NAMES
            or (name.startswith(_CONFLICTING_PREFIXES) and not _HARMLESS_NAME.search(name))
        )
    )


def pin_environment(
    environ: MutableMapping[str, str], *, cpu_class: str | None = None, threads: int | None = None
) -> None:
    """Set every pin in `environ`; call it before torch is imported.

    The class is `cpu_class`, else SEEDBED_CPU_CLASS, else avx2 where the CPU has it; threads likewise,
    default 1. Processes started from here inherit the pins. Raises UserError for a class that the
    CPU cannot run, or if a pin in os.environ would change after torch was loaded.
    """
    chosen = require_supported(cpu_class or environ.get(CPU_CLASS_VARIABLE) or default_cpu_class())
    wanted_threads = _threads_named(environ if threads is None else {THREADS_VARIABLE: str(threads)})
    pins = pinned_variables(chosen, threads=wanted_threads)
    wanted = start_pins(environ) | pins
    if environ is os.environ:
        _require_unread(wanted)
    # libraries that are imported later set some of them, so they do not prevent pinning again
    for name, value in (dict.fromkeys(conflicting_variables(environ, pins)) | wanted).items():
        environ.pop(name, None)
        if value is not None:
            environ[name] = value
    for name, value in _MALLOC.items():
        environ.setdefault(name, value)
    if environ is os.environ:
        raise_malloc_thresholds()


def _require_unread(wanted: Mapping[str, str | None]) -> None:
    """Raise UserError if a pin would change that was read already, at start or at the import of torch."""
    changed = [name for name, value in wanted.items() if os.environ.get(name) != value]
    read = set(start_pins(os.environ)) if "torch" not in sys.modules else set(wanted)
    for name in changed:
        if name in read and name != HASH_SEED_VARIABLE:
            raise _too_late(name, os.environ.get(name), wanted[name])


def default_cpu_class() -> str:
    """Return the default class: avx2, else baseline; generic if the CPU is not x86-64."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return "generic"
    return "avx2" if CPU_CLASSES["avx2"].cpu_flags <= cpu_flags() else "baseline"


def cpu_flags() -> frozenset[str]:
    """Return the flags of the first CPU in /proc/cpuinfo; empty if there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), ":")
    return frozenset(flags.partition(":")[2].split())


def raise_malloc_thresholds() -> None:
    """Set the malloc thresholds of glibc so that it does not return freed memory; changes no bit."""
    m_trim_threshold, m_mmap_threshold = -1, -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(m_trim_threshold, _MALLOC_THRESHOLD_BYTES)
        mallopt(m_mmap_threshold, _MALLOC_THRESHOLD_BYTES)


def pinned_threads() -> int:
    """Return the pinned number of threads of this process, for `enforce_determinism` of the arithmetic."""
    return _threads_named(os.environ)


def assert_pinned() -> None:
    """Raise UserError if the pins of this process are missing, were set too late or have changed."""
    name = os.environ.get(CPU_CLASS_VARIABLE)
    if name is None:
        raise _too_late(CPU_CLASS_VARIABLE, None, default_cpu_class())
    chosen = CPU_CLASSES[require_supported(name)]
    threads = _threads_named(os.environ)
    for variable, wanted in pinned_variables(name, threads=threads).items():
        if variable != HASH_SEED_VARIABLE and os.environ.get(variable) != wanted:
            raise _too_late(variable, os.environ.get(variable), wanted)
    _assert_effective(chosen, threads=threads)


def active_mkl_branch() -> int | None:
    """Return the branch of conditional numerical reproducibility of MKL; None if torch has no MKL.

    The first call fixes the branch for the life of the process.
    """
    import torch  # takes 1.9 s, and must find the pins in place

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not library.exists():
        return None
    query = getattr(ctypes.CDLL(str(library)), "mkl_serv_cbwr_get", None)
    mkl_cbwr_branch = 1
    return None if query is None else int(query(mkl_cbwr_branch))


def denormals_by_thread() -> list[bool]:
    """Return for each OpenMP thread whether it computes denormal numbers without flushing them to zero.

    Empty if torch was built without OpenMP. Each calling thread has its own pool of threads.
    """
    import torch

    bundled = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    # a preloaded library takes precedence over the one of torch
    libraries = [ctypes.CDLL(None), *([ctypes.CDLL(str(bundled))] if bundled.exists() else [])]
    parallel = next((f for each in libraries if (f := getattr(each, "GOMP_parallel", None))), None)
    results: list[bool] = []
    if parallel is not None:
        task = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: results.append(_computes_denormals()))
        parallel(task, None, ctypes.c_uint(0), ctypes.c_uint(0))
    return results


def _computes_denormals() -> bool:
    # made of bits, because arithmetic may flush them to zero
    smallest_normal, smallest = struct.unpack("<2d", struct.pack("<2Q", 1 << 52, 1))
    return bool(smallest_normal * 0.5 > 0.0 and smallest * 1.0 > 0.0)


def _assert_effective(chosen: CpuClass, *, threads: int) -> None:
    import torch

    capability = torch.backends.cpu.get_cpu_capability().lower()
    if capability != chosen.aten:
        raise _too_late("ATEN_CPU_CAPABILITY", capability, chosen.aten)
    if torch.get_num_threads() != threads:
        raise _too_late("OMP_NUM_THREADS", torch.get_num_threads(), threads)
    _require_openmp_threads(denormals_by_thread() or [_computes_denormals()] * threads, threads=threads)
    branch = active_mkl_branch()
    if branch is not None and _mkl_uses_branch(chosen) and branch != chosen.mkl_branch_code:
        raise _too_late("MKL_CBWR", branch, chosen.mkl_branch_code)


def _require_openmp_threads(computes_denormals: list[bool], *, threads: int) -> None:
    """Raise UserError if OpenMP has another number of threads, or one flushes denormal numbers to zero."""
    found = len(computes_denormals)
    if found != threads:
        problem = f"OpenMP computes with {found} thread{'s' * (found > 1)} instead of {threads}"
        fix = "start the process without it, and without limits of threads in what is preloaded"
        line = refusal("OMP_THREAD_LIMIT", os.environ.get("OMP_THREAD_LIMIT"), problem, fix)
        raise UserError("EnvironmentChanged", line)
    if not all(computes_denormals):
        problem = "a library has switched flush-to-zero on in threads that compute"
        fix = "start the process without it, or build it without -ffast-math"
        line = refusal("LD_PRELOAD", os.environ.get("LD_PRELOAD"), problem, fix)
        raise UserError("EnvironmentChanged", line)


def _mkl_uses_branch(chosen: CpuClass) -> bool:
    """Return whether MKL uses the pinned branch; on CPUs of other vendors it selects one by itself."""
    return chosen.mkl_branch_code is not None and "GenuineIntel" in _cpu_vendor()


def _cpu_vendor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return next((line for line in text.splitlines() if line.startswith("vendor_id")), "")


def require_supported(name: str) -> str:
    """Return the name if this CPU can run the class; raise UserError otherwise."""
    if name not in CPU_CLASSES:
        fix = f"use one of {', '.join(CPU_CLASSES)}"
        raise UserError("InvalidSpec", refusal(CPU_CLASS_VARIABLE, name, "no such CPU class", fix))
    missing = CPU_CLASSES[name].cpu_flags - cpu_flags()
    if missing:
        problem = f"this CPU lacks {', '.join(sorted(missing))}"
        raise UserError(
            "EnvironmentChanged",
            refusal(CPU_CLASS_VARIABLE, name, problem, f"use {default_cpu_class()} or another machine"),
        )
    return name


def _threads_named(environ: Mapping[str, str]) -> int:
    text = environ.get(THREADS_VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        raise UserError(
            "InvalidSpec", refusal(THREADS_VARIABLE, text, "not a number of threads", "use 1 or more")
        )
    return int(text)


def _too_late(variable: str, value: object, wanted: object) -> UserError:
    setting = f"without {variable}" if wanted is None else f"with {variable}={wanted}"
    fix = f"start the process {setting}, or call pin_environment before torch is imported"
    return UserError("EnvironmentChanged", refusal(variable, value, "not the pin of this CPU class", fix))
