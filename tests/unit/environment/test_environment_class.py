"""The class digest covers the whole document; the probe names the part that differs."""

import copy
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.environment import arithmetic_probe as probing
from seedbed.environment import (
    check_probe,
    document_differences,
    environment_class,
    environment_name,
    run_probe,
)
from seedbed_api.errors import InfrastructureError

DOCUMENT = {
    "schemaVersion": 1,
    "packages": {"numpy": "2.4.6", "torch": "2.15.0+cu132"},
    "device": {"type": "cpu"},
    "cpu": {"class": "avx2", "threads": 1, "pins": {"MKL_CBWR": "AVX2"}},
    "probe": {"digest": "sha256:00", "parts": {"gemm": "aa", "exp": "bb"}},
}


def leaves(document, path=()):
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def changed_at(path):
    document = copy.deepcopy(DOCUMENT)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "another"
    return document


@pytest.mark.parametrize("path", list(leaves(DOCUMENT)), ids=".".join)
def test_every_field_is_in_the_class_and_is_named_when_it_differs(path):
    other = changed_at(path)
    assert environment_class(other) != environment_class(DOCUMENT)
    assert [line.partition(":")[0] for line in document_differences(DOCUMENT, other)] == [".".join(path)]


@given(st.permutations(list(DOCUMENT)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_keys_is_not_in_the_class(keys):
    assert environment_class({key: DOCUMENT[key] for key in keys}) == environment_class(DOCUMENT)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        pytest.param({"type": "cpu"}, "cpu-avx2-t1-torch2.15.0", id="cpu"),
        pytest.param(
            {"type": "cuda", "model": "NVIDIA A100-SXM4-80GB", "capability": "8.0"},
            "cuda-a100-sxm4-80gb-sm80-torch2.15.0",
            id="gpu",
        ),
    ],
)
def test_the_short_name(device, name):
    assert environment_name(DOCUMENT | {"device": device}) == name


def test_a_machine_agrees_with_itself():
    probe = run_probe()
    check_probe({"digest": probe.digest, "parts": dict(probe.parts)})
    assert set(probe.parts) == {
        "convolution", "gemm", "exp", "normalisation", "bfloat16", "decode", "resize", "libm",
    }  # fmt: skip


def test_a_machine_with_one_other_bit_is_refused_and_the_part_is_named(monkeypatch):
    probe = run_probe()
    honest = probing._gemm
    monkeypatch.setattr(probing, "_gemm", lambda device: bytes([honest(device)[0] ^ 1]) + honest(device)[1:])
    with pytest.raises(InfrastructureError, match="other bits than the driver's in gemm ") as caught:
        check_probe({"digest": probe.digest, "parts": dict(probe.parts)})
    assert caught.value.reason == "EnvironmentChanged"


def an_ulp_off(module, name, monkeypatch, *, every):
    """Make a function wrong by one bit at every so manieth point."""
    honest, calls = getattr(module, name), itertools.count(1)

    def wrong(x):
        value = honest(x)
        return math.nextafter(value, math.inf) if next(calls) % every == 0 else value

    monkeypatch.setattr(module, name, wrong)


@pytest.mark.parametrize("name", ["cos", "sin", "exp", "log", "tanh", "expm1", "erf", "atan"])
def test_a_c_library_that_differs_in_one_point_of_a_thousand_is_another_class(name, monkeypatch):
    probe = run_probe()
    an_ulp_off(math, name, monkeypatch, every=1000)
    assert run_probe().parts["libm"] != probe.parts["libm"]


def test_threads_that_flush_denormals_are_another_class():
    import torch

    probe = run_probe()
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("not run: this CPU cannot flush denormals")
        parts = run_probe().parts
    finally:
        torch.set_flush_denormal(False)
    assert parts["exp"] != probe.parts["exp"]


def test_a_part_that_only_one_side_knows_is_a_difference():
    probe = run_probe()
    with pytest.raises(InfrastructureError, match="in fourier "):
        check_probe({"digest": probe.digest, "parts": {**probe.parts, "fourier": "00"}})


def test_the_probe_leaves_the_generators_of_the_user_alone():
    import torch

    before = torch.random.get_rng_state()
    run_probe()
    assert torch.equal(before, torch.random.get_rng_state())
