"""Arithmetic probe: digests of a few fixed computations, which show whether two machines compute equal bits.

Every worker runs it at start; a worker whose digests differ from the driver's is rejected, because it would
train another model. Shapes: n images, c k channels, h w height and width. Inputs are integers scaled by
powers of two, so that no random generator is used.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedbed_api.errors import InfrastructureError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

# torch (1.9 s to import), numpy and simplejpeg (0.09 s each) are imported by the computations that need them:
# every command imports this package for its pins, which torch must find in place

# 40 x 24, 4:2:0 (chroma upsampling is where decoders differ), quality 90; a slanted ramp with a little noise.
_JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMU"
    "FRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    "FBQUFBQUFBT/wAARCAAYACgDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUF"
    "BAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVW"
    "V1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi"
    "4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAEC"
    "AxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVm"
    "Z2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq"
    "8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD4D0rwIQB+7/Suu0vwHjH7v9K9b0vwH0Hl/pXXaX4EwAPL/SsKVc+aybirb3jyPSvAmAP3"
    "f6V1ul+BBgfu+fpXrml+BOn7v8a67S/AnA/d4/CvVpVz92yXirb3jyPS/AnA/dfpRX0VpfgTp+7/AAxRXpwxFkfsuD4q/dK8jktL"
    "8CA4Bj/Sut0rwJ0/d0UV+d0ps/x/yXMcRp7x12l+BOQfL/Suu0rwJ0/d/pRRXqU5s/dclzHEae8dbpXgTkfu/wBKKKK9KMm0fs2D"
    "zDEeyXvH/9k="
)


_POINTS = 4099
"""Not a multiple of any vector length, so that the scalar code for the remainder runs too."""
_DENORMALS = 1 << 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Result of the probe on one machine: a short digest per part."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return `sha256:…` over all parts in the order of their names."""
        text = "\n".join(f"{name}={self.parts[name]}" for name in sorted(self.parts))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def run_probe(device: str = "cpu") -> Probe:
    """Compute every part: floats on `device`, pictures and libm on the CPU. 0.1 s cold, 25 ms warm."""
    on_device: Mapping[str, Callable[[str], bytes]] = {
        "convolution": _convolution,
        "gemm": _gemm,
        "exp": _exp,
        "normalisation": _normalisation,
        "bfloat16": _bfloat16,
    }
    on_cpu: Mapping[str, Callable[[], bytes]] = {"decode": _decode, "resize": _resize, "libm": _libm}
    results = {name: part(device) for name, part in on_device.items()}
    results |= {name: part() for name, part in on_cpu.items()}
    return Probe(parts={name: hashlib.sha256(result).hexdigest()[:16] for name, result in results.items()})


def check_probe(expected: Mapping[str, Any], *, device: str = "cpu") -> None:
    """Compare this machine with the `probe` member of an environment document.

    Raises InfrastructureError EnvironmentChanged with the names of the differing parts.
    """
    local = run_probe(device)
    expected_parts = expected["parts"]
    differing = sorted(
        name for name in {*local.parts, *expected_parts} if local.parts.get(name) != expected_parts.get(name)
    )
    if differing:
        raise InfrastructureError(
            "EnvironmentChanged",
            f"probe: this machine computes other bits than the driver's in {', '.join(differing)} "
            f"(here {local.digest[:19]}, driver {expected['digest'][:19]}); "
            "run both on machines of one environment class",
        )


def _convolution(device: str) -> bytes:
    import torch
    from torch.nn.functional import conv2d

    first_nchw, weight_kchw = _fixed(4, 3, 32, 32, device=device), _fixed(16, 3, 3, 3, device=device)
    second_kchw = _fixed(24, 16, 3, 3, device=device)
    leaves = [tensor.requires_grad_() for tensor in (first_nchw, weight_kchw, second_kchw)]
    output = conv2d(torch.relu(conv2d(leaves[0], leaves[1], padding=1)), leaves[2], stride=2, padding=1)
    gradients = torch.autograd.grad(output.square().mean(), leaves)
    return _bytes(output, *gradients)


def _gemm(device: str) -> bytes:
    a, b = _fixed(96, 160, device=device), _fixed(160, 80, device=device)
    large_a, large_b = _fixed(256, 384, device=device), _fixed(384, 256, device=device)
    return _bytes(a @ b, a @ b[:, 0], large_a @ large_b)


def _exp(device: str) -> bytes:
    """Compute elementwise functions at a few chosen points, thousands of others, and denormal numbers."""
    import torch

    x = _fixed(64, 33, device=device) * 8
    few = _bytes(torch.exp(x), torch.log_softmax(x, dim=1), torch.tanh(x), torch.rsqrt(x.abs() + 1))
    many = _fixed(_POINTS, device=device) * 8
    functions = (torch.cos, torch.sin, torch.exp, torch.tanh, torch.sigmoid, torch.erf, torch.expm1)
    results = []
    for points in (many, many.double()):
        positive = points.abs() + 1
        results += [function(points) for function in functions]
        results += [torch.log(positive), torch.rsqrt(positive), positive**0.37]
    return few + _bytes(*results) + _denormals(device)


def _denormals(device: str) -> bytes:
    """Compute products of the smallest numbers."""
    import torch

    bits = torch.arange(_DENORMALS, dtype=torch.int32, device=device)
    floats = (bits * 257).view(torch.float32)
    doubles = (bits.long() << 31).view(torch.float64)
    return _bytes(floats * 0.75, floats + floats, doubles * 0.75, doubles.float())


def _normalisation(device: str) -> bytes:
    import torch
    from torch.nn.functional import batch_norm

    x_nchw = _fixed(8, 16, 12, 12, device=device).requires_grad_()
    mean_c, variance_c = torch.zeros(16, device=device), torch.ones(16, device=device)
    y_nchw = batch_norm(x_nchw, mean_c, variance_c, training=True, momentum=0.1)
    gradients = torch.autograd.grad((y_nchw * y_nchw.detach().roll(1, 0)).sum(), [x_nchw])
    return _bytes(y_nchw, mean_c, variance_c, *gradients)


def _bfloat16(device: str) -> bytes:
    import torch
    from torch.nn.functional import conv2d

    a, b = _fixed(64, 96, device=device).bfloat16(), _fixed(96, 48, device=device).bfloat16()
    x_nchw, w_kchw = _fixed(4, 32, 16, 16, device=device), _fixed(48, 32, 3, 3, device=device)
    return _bytes((a @ b).to(torch.float32), conv2d(x_nchw.bfloat16(), w_kchw.bfloat16()).to(torch.float32))


def _decode() -> bytes:
    import numpy as np
    import simplejpeg

    pixels_hwc = simplejpeg.decode_jpeg(np.frombuffer(base64.b64decode(_JPEG), np.uint8), colorspace="RGB")
    return bytes(np.ascontiguousarray(pixels_hwc).tobytes())


def _resize() -> bytes:
    from PIL import Image

    image = Image.frombytes("RGB", (40, 24), _ramp(24, 40, 3).tobytes())
    result = io.BytesIO()
    for size, method in (
        ((17, 13), "BILINEAR"),
        ((61, 53), "BICUBIC"),
        ((16, 16), "LANCZOS"),
        ((9, 7), "BOX"),
    ):
        result.write(image.resize(size, Image.Resampling[method]).tobytes())
    return result.getvalue()


def _libm() -> bytes:
    """Call functions of the C library through Python, numpy and the initialisation of torch."""
    few = [0.001 + 0.37 * i for i in range(64)]
    functions = (math.cos, math.sin, math.log, math.sqrt, lambda x: math.exp(-x), lambda x: x**0.37)
    results = "\n".join(function(x).hex() for function in functions for x in few).encode()
    many = [(i * 2654435761 % 2**32) / 2**28 for i in range(1, _POINTS)]
    further = (*functions, math.tan, math.atan, math.tanh, math.expm1, math.log1p, math.erf, lambda x: 0.9**x)
    results += b"".join(array("d", map(function, many)).tobytes() for function in further)
    return results + _numpy(many) + _initialisation()


def _numpy(points: Sequence[float]) -> bytes:
    import numpy as np

    unary = (np.cos, np.sin, np.exp, np.log, np.tanh, np.expm1, np.log1p, np.sqrt)
    doubles = np.array(points, np.float64)
    arrays: list[npt.NDArray[Any]] = [doubles, doubles.astype(np.float32)]
    results = [function(x) for function in unary for x in arrays] + [np.power(x, 0.37) for x in arrays]
    return b"".join(result.tobytes() for result in [*results, *(x.sum(keepdims=True) for x in arrays)])


def _initialisation() -> bytes:
    """Draw random numbers like the initialisation of layers, from an own generator."""
    import torch

    generator = torch.Generator().manual_seed(20)
    sizes = (_POINTS, 15)  # the short tensor uses another code path
    normal = [torch.empty(size).normal_(generator=generator) for size in sizes]
    truncated = torch.nn.init.trunc_normal_(torch.empty(_POINTS), generator=generator)
    return _bytes(*normal, truncated, torch.empty(_POINTS).exponential_(generator=generator))


def _ramp(*shape: int) -> npt.NDArray[np.uint8]:
    import numpy as np

    steps = np.arange(math.prod(shape), dtype=np.int64)
    return ((steps * 2654435761 % 65537) % 251).astype(np.uint8).reshape(shape)


def _fixed(*shape: int, device: str) -> Tensor:
    """Return float32 in [-1, 1), multiples of 2^-15, which are exact without rounding."""
    import torch

    steps = torch.arange(math.prod(shape), dtype=torch.int64)
    scaled = (steps * 2654435761 % 65536).to(torch.float32) / 32768 - 1
    return scaled.reshape(shape).to(device)


def _bytes(*tensors: Tensor) -> bytes:
    return b"".join(bytes(tensor.detach().cpu().contiguous().numpy().tobytes()) for tensor in tensors)
