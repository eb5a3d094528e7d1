"""First weights: what fits by name, type and shape, and one line for what does not."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors
from torch import nn

from seedbed.runs.tensor_serialization import weights_digest
from seedbed.training.initial_weights import WeightsSource, fetch_weights, start_from
from seedbed_api.errors import UserError


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    layers = OrderedDict(conv=nn.Conv2d(3, 2, 3), norm=nn.BatchNorm2d(2), fc=nn.Linear(2, classes))
    return nn.Sequential(layers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return weights that are all 7."""
    path = tmp_path / "w.safetensors"
    save_file({name: np.full_like(t.numpy(), 7) for name, t in network().state_dict().items()}, path)
    return path


def changed(file: Path, tensors: dict[str, Any]) -> str:
    """Write a file with other tensors; None removes one."""
    named = {**load_file(file), **tensors}
    other = file.with_name("other.safetensors")
    save_file({name: value for name, value in named.items() if value is not None}, other)
    return str(other)


def sevens(model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if (tensor == 7).all()}


def test_all_tensors_are_taken_over(file: Path) -> None:
    model = network()
    start_from(model, WeightsSource(uri=str(file)))
    assert sevens(model) == set(model.state_dict())


def test_excluded_tensors_stay_and_may_have_another_shape_or_be_missing(file: Path) -> None:
    for uri in (str(file), changed(file, {"fc.weight": None, "fc.bias": None})):
        model = network(classes=5)
        start_from(model, WeightsSource(uri=uri, exclude=("fc.*",)))
        assert set(model.state_dict()) - sevens(model) == {"fc.weight", "fc.bias"}


def test_names_are_changed_by_the_first_pattern_that_matches(file: Path) -> None:
    named = load_file(file)
    heads = {"module.fc": "module.head"}
    renamed = {f"module.{name}".replace(*next(iter(heads.items()))): value for name, value in named.items()}
    save_file(renamed, file)
    rename = (("module.head.*", "fc.*"), ("module.*", "*"))
    model = network()
    start_from(model, WeightsSource(uri=str(file), rename=rename))
    assert sevens(model) == set(model.state_dict())


def test_without_strict_what_has_the_same_name_is_taken_over(file: Path) -> None:
    uri = changed(file, {"conv.weight": None, "tail.bias": np.zeros(2, np.float32)})
    model = network()
    start_from(model, WeightsSource(uri=uri, strict=False))
    assert set(model.state_dict()) - sevens(model) == {"conv.weight"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_that_lose_nothing_are_converted(file: Path, dtype: torch.dtype) -> None:
    state = {name: torch.full_like(t, 7) for name, t in network().state_dict().items()}
    save_tensors({n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()}, file)
    model = network()
    start_from(model, WeightsSource(uri=str(file)))
    assert sevens(model) == set(model.state_dict())


def test_a_file_without_counts_of_batches_and_one_of_a_shared_pair_are_whole(file: Path) -> None:
    model = network()
    model.add_module("tied", model.fc)
    start_from(model, WeightsSource(uri=changed(file, {"norm.num_batches_tracked": None})))
    assert set(model.state_dict()) - sevens(model) == {"norm.num_batches_tracked"}


def test_two_values_for_one_tensor_of_the_model_are_refused(file: Path) -> None:
    """Their digest does not say which one a file has last."""
    model = network()
    model.add_module("tied", model.fc)
    both = {"tied.weight": np.full((3, 2), 7, np.float32), "tied.bias": np.full(3, 7, np.float32)}
    start_from(model, WeightsSource(uri=changed(file, both)))
    assert {"fc.weight", "tied.weight"} <= sevens(model)
    with pytest.raises(UserError, match=r"fc\.bias and tied\.bias are one tensor of the model and differ"):
        start_from(model, WeightsSource(uri=changed(file, {**both, "tied.bias": np.full(3, 8, np.float32)})))


def test_a_file_is_known_whatever_the_length_of_its_header(file: Path) -> None:
    state = network().state_dict()
    starts = set()
    for padding in range(0, 300, 8):
        save_tensors(state, file, metadata={"padding": " " * padding})
        starts.add(file.read_bytes()[:1])
        assert fetch_weights(WeightsSource(uri=str(file)))[1] == weights_digest(state)
    assert len(starts) == 32, "each length that the format allows, the first byte of a pickle among them"


@pytest.mark.parametrize(("given", "own"), [(-1, torch.uint8), (1 << 40, torch.int32), (-1, torch.uint64)])
def test_integers_that_would_wrap_are_refused(file: Path, given: int, own: torch.dtype) -> None:
    model = torch.nn.Module()
    model.register_buffer("count", torch.zeros(2, dtype=own))
    save_tensors({"count": torch.tensor([1, given])}, file)
    with pytest.raises(UserError, match="which does not hold all values"):
        start_from(model, WeightsSource(uri=str(file)))


def wrapped(state: dict[str, torch.Tensor]) -> dict[str, object]:
    return {
        "flat": state,
        "ordered": OrderedDict(state),
        "state_dict": {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        "model": {"model": state, "args": {"name": "x"}},
        "model_state_dict": {"model_state_dict": state, "loss": 0.5},
    }


@pytest.mark.parametrize("kind", ["flat", "ordered", "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_of_the_same_tensors_has_the_same_digest(file: Path, kind: str, *, zipped: bool) -> None:
    state = network().state_dict()
    save_tensors(state, file)
    torch_file = file.with_name("w.pt")
    torch.save(wrapped(dict(state))[kind], torch_file, _use_new_zipfile_serialization=zipped)
    digests = {fetch_weights(WeightsSource(uri=str(path)))[1] for path in (file, torch_file)}
    assert digests == {weights_digest(state)}


def test_views_in_a_torch_file_are_their_own_values(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save(
        {"a": whole.T, "b": whole[1:], "c": torch.zeros(0, 2), "d": torch.tensor(3)}, tmp_path / "v.pt"
    )
    found, _ = fetch_weights(WeightsSource(uri=str(tmp_path / "v.pt")))
    assert torch.equal(found["a"].to_torch(), whole.T)
    assert torch.equal(found["b"].to_torch(), whole[1:])
    assert found["c"].to_torch().shape == (0, 2)
    assert found["d"].to_torch() == 3


NAN = np.full(3, np.nan, np.float32)


@pytest.mark.parametrize(
    ("block", "tensors", "says"),
    [
        ({}, {"fc.weight": np.zeros((9, 2), np.float32)}, 'spec.model.weights: fc.weight has shape [9, 2] in the file and [3, 2] in the model (got \'fc.weight\'); start that layer anew with exclude: ["fc.*"], or use the network of the file'),
        ({"exclude": ("conv.*",)}, {"fc.weight": np.zeros((9, 2), np.float32)}, 'exclude: ["conv.*", "fc.*"]'),
        ({}, {"fc.weight": None}, "spec.model.weights: the file lacks fc.weight of the model (got '8 tensors for 9')"),
        ({}, {"tail.weight": NAN}, "the model has no tail.weight, which the file has"),
        ({"exclude": ("*",)}, {}, "spec.model.weights.exclude: leaves no tensor of the file (got '*')"),
        ({}, {"fc.bias": NAN}, "fc.bias holds 3 values that are not finite"),
        ({}, {"norm.running_var": NAN[:2]}, "norm.running_var holds 2 values that are not a number"),
        ({}, {"fc.bias": np.full(3, 0.1)}, "fc.bias is float64 in the file and float32 in the model, which does not hold all values"),
        ({}, {"fc.bias": np.full(3, 1)}, "fc.bias is int64 in the file and float32 in the model (got 'fc.bias'); save it as float32"),
        ({"exclude": ("tail.*",)}, {}, "spec.model.weights.exclude: matches no tensor of the model and the file (got 'tail.*'); names are for example conv.weight"),
        ({"rename": (("a.*", "b.*"),)}, {}, "spec.model.weights.rename: matches no tensor of the file (got 'a.*')"),
        ({"rename": (("fc.bias", "fc.weight"),)}, {}, "would both be named fc.weight"),
        ({"digest": "sha256:" + "0" * 64}, {}, "spec.model.weights.digest: the tensors at"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(
    file: Path, block: dict[str, Any], tensors: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError) as refused:
        start_from(network(), WeightsSource(uri=changed(file, tensors), **block))
    assert says in refused.value.message
    assert "\n" not in refused.value.message


def test_a_prefix_of_all_names_is_found(file: Path) -> None:
    save_file({f"module.{name}": value for name, value in load_file(file).items()}, file)
    with pytest.raises(UserError, match=r"write rename: \[\{match: 'module\.\*', to: '\*'\}\]"):
        start_from(network(), WeightsSource(uri=str(file)))


class Dangerous:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def content(kind: str, folder: Path) -> bytes:
    file = folder / "made"
    made: dict[str, object] = {
        "a module": network(),
        "an object": {"a": torch.zeros(1), "b": Dangerous()},
        "a number": {"epoch": 3, "a": torch.zeros(1)},
        "a list": [torch.zeros(1)],
        "two models": {"model": {"a": torch.zeros(1)}, "state_dict": {"a": torch.ones(1)}},
        "no tensors": {},
        "complex": {"a": torch.zeros(1, dtype=torch.complex64)},
        "sparse": {"a": torch.zeros(3).to_sparse()},
        "a meta tensor": {"a": torch.ones(2, device="meta")},
        "huge view": {"a": torch.zeros(1).expand(1 << 40)},
    }
    if kind in made:
        torch.save(made[kind], file)
    elif kind == "numpy archive":
        np.savez(file.with_suffix(".npz"), a=NAN)
        return file.with_suffix(".npz").read_bytes()
    elif kind == "damaged":
        torch.save({"a": torch.zeros(1000)}, file)
        return file.read_bytes()[:-900]
    else:
        return kind.encode()
    return file.read_bytes()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("a module", "is a pickle of more than tensors: "),
        ("an object", "is a pickle of more than tensors: "),
        ("a number", "'epoch' is a int, not a named tensor"),
        ("a list", "holds a list, not named tensors"),
        ("two models", "holds several models: state_dict, model"),
        ("no tensors", "holds no tensors"),
        ("complex", "a has the type torch.complex64"),
        ("sparse", "a is sparse or quantized"),
        ("a meta tensor", "a has no values: it is on the device meta"),
        ("huge view", "holds tensors of 4,398,046,511,104 bytes"),
        ("numpy archive", "is no torch file"),
        ("damaged", "is no"),
        ("<!DOCTYPE html>", "is a web page"),
        ("version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS"),
        ("", "is neither safetensors nor a torch file"),
        ("weights", "is neither safetensors nor a torch file"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, kind: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content(kind, tmp_path))
    with pytest.raises(UserError) as refused:
        fetch_weights(WeightsSource(uri=str(path)))
    assert refused.value.message.startswith("spec.model.weights.uri: ")
    assert says in refused.value.message
    assert "\n" not in refused.value.message
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("absent.safetensors", "there is no such file (got"),
        ("folder/", "names a folder"),
        ("", "names a folder"),
        ("s3://bucket", "names a folder"),
        ("nosuch://bucket/w.pt", "spec.model.weights.uri: unknown scheme"),
    ],
)
def test_a_place_without_a_file_is_named(tmp_path: Path, uri: str, says: str) -> None:
    place = uri if "://" in uri else f"{tmp_path}/{uri}"
    with pytest.raises(UserError) as refused:
        fetch_weights(WeightsSource(uri=place))
    assert says in refused.value.message
