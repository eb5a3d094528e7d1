"""Environment class: the digest of a document with all that may change a bit and is not in the recipe.

Hostname, number of cores, memory, driver version and exact CPU model are left out because they should not
change a bit; the probe detects it if they do.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import rfc8785

from seedbed.environment.arithmetic_probe import run_probe
from seedbed.environment.environment_pins import (
    CPU_CLASS_VARIABLE,
    HASH_SEED_VARIABLE,
    THREADS_VARIABLE,
    active_mkl_branch,
    assert_pinned,
    pinned_variables,
)

# torch (1.9 s to import) and PIL (13 ms) are imported where they are used: every command imports this package
# for its pins, which torch must find in place
_PACKAGES = ("numpy", "pillow", "simplejpeg", "torch")
_UNHASHED_PINS = frozenset({CPU_CLASS_VARIABLE, THREADS_VARIABLE, HASH_SEED_VARIABLE})


def environment_document(device: str = "cpu", *, arithmetic_version: int | None = None) -> dict[str, Any]:
    """Return the environment document of this process for `device` ("cpu", "cuda", "cuda:1"), with the probe.

    Call it after `pin_environment` and the arithmetic's `enforce_determinism`, whose flags are part of it.
    Raises UserError if the pins are not in effect.
    """
    assert_pinned()
    document: dict[str, Any] = {
        "schemaVersion": 1,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_implementation() + " " + ".".join(platform.python_version_tuple()[:2]),
        "libc": " ".join(platform.libc_ver()).strip() or platform.system(),
        "torch": _torch_build(device),
        "device": _device(device),
        "cpu": _cpu(),
        "flags": _flags(device),
        "pictures": _pictures(),
        "probe": _probe(device),
    }
    return document | ({} if arithmetic_version is None else {"arithmeticVersion": arithmetic_version})


def environment_class(document: Mapping[str, Any]) -> str:
    """Return `sha256:…` of the canonical JSON (RFC 8785) of an environment document."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(dict(document))).hexdigest()


def environment_name(document: Mapping[str, Any]) -> str:
    """Return a short name for display, such as `cpu-avx2-t1-torch2.15.0`; it is not unique."""
    torch_version = str(document["packages"]["torch"]).partition("+")[0]
    device = document["device"]
    if device["type"] == "cpu":
        return f"cpu-{document['cpu']['class']}-t{document['cpu']['threads']}-torch{torch_version}"
    model = re.sub(r"[^a-z0-9]+", "-", device["model"].lower().replace("nvidia", "")).strip("-")
    return f"{device['type']}-{model}-sm{device['capability'].replace('.', '')}-torch{torch_version}"


def document_differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], *, path: str = "") -> list[str]:
    """List the fields in which two documents differ, as `field: mine != theirs`, in order of name."""
    lines: list[str] = []
    for key in sorted({*mine, *theirs}):
        a, b = mine.get(key), theirs.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += document_differences(a, b, path=f"{path}{key}.")
        elif a != b:
            lines.append(f"{path}{key}: {a} != {b}")
    return lines


def _torch_build(device: str) -> dict[str, Any]:
    import torch

    configuration = str(torch.__config__.show())
    build = {
        "version": torch.__version__,
        "commit": torch.version.git_version,
        "mkl": _line_with(configuration, "Math Kernel Library"),
        "onednn": _line_with(configuration, "MKL-DNN"),
    }
    if _is_cuda(device):
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        build |= {"cuda": torch.version.cuda, "cudnn": cudnn, **_cuda_libraries()}
    return build


def _cuda_libraries() -> dict[str, str]:
    names = ("cublas", "cuda-nvrtc", "cudnn", "cusparse", "cusolver", "cufft", "nccl")
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith("nvidia-") and any(part in name for part in names):
            found[name] = distribution.version
    return found


def _device(device: str) -> dict[str, Any]:
    if not _is_cuda(device):
        return {"type": "cpu"}
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    properties = torch.cuda.get_device_properties(device)
    return {
        "type": "cuda",
        "model": properties.name,
        "capability": f"{major}.{minor}",
        # Kernels split work by the number of multiprocessors, so a slice of a GPU counts as another device.
        "multiprocessors": properties.multi_processor_count,
    }


def _cpu() -> dict[str, Any]:
    import torch

    name, threads = os.environ[CPU_CLASS_VARIABLE], int(os.environ[THREADS_VARIABLE])
    pins = pinned_variables(name, threads=threads)
    return {
        "architecture": platform.machine(),
        "class": name,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mklBranch": active_mkl_branch(),
        "threads": threads,
        "pins": {key: value for key, value in pins.items() if key not in _UNHASHED_PINS},
    }


def _flags(device: str) -> dict[str, Any]:
    import torch

    flags: dict[str, Any] = {
        "deterministicAlgorithms": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
    }
    if _is_cuda(device):
        flags |= {
            "cudnnEnabled": torch.backends.cudnn.enabled,
            "cudnnBenchmark": torch.backends.cudnn.benchmark,
            "cudnnDeterministic": torch.backends.cudnn.deterministic,
            "cudnnTF32": torch.backends.cudnn.allow_tf32,
            "matmulTF32": torch.backends.cuda.matmul.allow_tf32,
        }
    return flags


def _pictures() -> dict[str, Any]:
    from PIL import features

    codecs = ("libjpeg_turbo", "webp", "libtiff")
    return {name: version for name in codecs if (version := features.version(name))}


def _probe(device: str) -> dict[str, Any]:
    probe = run_probe(device)
    return {"digest": probe.digest, "parts": dict(probe.parts)}


def _is_cuda(device: str) -> bool:
    return device.partition(":")[0] == "cuda"


def _line_with(text: str, substring: str) -> str | None:
    return next((line.strip(" -") for line in text.splitlines() if substring in line), None)
