"""Networks by name: deterministic, shaped as published, and explicit about what they do not know."""

from __future__ import annotations

import pytest
import torch

from seedbed.models.model_registry import MODELS, build_model

SMALL = {"simple-cnn": {"width": "4"}} | {f"resnet{n}": {"width": "4", "stem": "small"} for n in (18, 34, 50)}


def values(name: str, seed: int) -> list[bytes]:
    model = build_model(name, SMALL[name], 5, seed=seed)
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]


@pytest.mark.parametrize("name", MODELS)
def test_first_weights_are_a_function_of_the_seed(name: str) -> None:
    before = torch.get_rng_state()
    first = values(name, 1)
    torch.rand(3)
    assert values(name, 1) == first
    assert values(name, 2) != first
    torch.set_rng_state(before)


def test_a_build_leaves_the_default_generator_alone() -> None:
    before = torch.get_rng_state()
    build_model("simple-cnn", {}, 5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", MODELS)
def test_gives_one_logit_per_class(name: str) -> None:
    assert build_model(name, SMALL[name], 5)(torch.randn(2, 3, 16, 16)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet18", 11.69), ("resnet34", 21.80), ("resnet50", 25.56)]
)
def test_residual_networks_have_the_published_number_of_parameters(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = MODELS[name].construct(classes=1000, stem="imagenet", width=64)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(("stem", "height"), [("imagenet", 2), ("small", 8)])
def test_the_stem_decides_how_much_is_left_of_a_picture(stem: str, height: int) -> None:
    model = build_model("resnet18", {"stem": stem, "width": 4}, 5)
    seen: list[int] = []
    model.get_submodule("blocks").register_forward_hook(lambda _, __, out: seen.append(out.shape[-1]))
    model(torch.randn(2, 3, 64, 64))
    assert seen == [height]


@pytest.mark.parametrize(
    ("name", "args", "complaint"),
    [
        ("resnet19", {}, "unknown model 'resnet19': known are simple-cnn, resnet18, resnet34, resnet50"),
        ("simple-cnn", {"depth": "3"}, "no argument 'depth': known are width, dropout"),
        ("simple-cnn", {"width": "many"}, "argument width: 'many' is no int"),
        ("simple-cnn", {"width": "0"}, "argument width: 0 is out of range"),
        ("simple-cnn", {"dropout": "1"}, "argument dropout: 1.0 is out of range"),
        ("simple-cnn", {"dropout": "nan"}, "argument dropout: nan is out of range"),
        ("resnet18", {"stem": "large"}, "argument stem: 'large' is not one of imagenet, small"),
    ],
)
def test_refuses(name: str, args: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build_model(name, args, 5)
