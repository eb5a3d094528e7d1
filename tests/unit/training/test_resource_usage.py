"""What a rank tells of itself: how busy its GPU is, where there is one whose driver tells."""

from __future__ import annotations

from collections.abc import Callable

import pynvml
import pytest
import torch

from seedbed.training.resource_usage import gpu_utilization


def busy() -> int:
    return 45


def of_a_slice() -> int:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def without_a_driver() -> int:
    raise RuntimeError("cuda driver can't be loaded, is cuda enabled?")


ANSWERS: dict[str, tuple[bool, Callable[[], int], float | None]] = {
    "a GPU at work": (True, busy, 0.45),
    "a slice of a GPU, of which the driver tells nothing": (True, of_a_slice, None),
    "no library of the driver": (True, without_a_driver, None),
    "a process that uses none": (False, busy, None),
}


@pytest.mark.parametrize(("used", "answer", "told"), ANSWERS.values(), ids=ANSWERS.keys())
def test_how_busy_the_gpu_is(
    used: bool, answer: Callable[[], int], told: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "utilization", answer)
    assert gpu_utilization() == told
