"""Networks of libraries by name: what is built, and what is refused with field, value and fix."""

from __future__ import annotations

import importlib.util

import pytest

from seedbed.usercode import library_networks
from seedbed.usercode.entrypoint_loader import load_entrypoint
from seedbed.usercode.library_networks import library_digest, library_of, typed_argument
from seedbed_api.errors import UserError
from support.networks.library_networks import needs

ARGUMENTS = {
    "a fraction": ("0.2", 0.2),
    "an integer": ("32", 32),
    "a flag": ("false", False),
    "nothing": ("null", None),
    "a list": ("[2, 2]", [2, 2]),
    "a string": ("avg", "avg"),
    "Python's flag": ("False", "False"),
    "not a number": ("NaN", "NaN"),
    "infinite": ("-Infinity", "-Infinity"),
    "empty": ("", ""),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument_is_read_as_json(case: str) -> None:
    text, value = ARGUMENTS[case]
    assert (typed_argument(text), type(typed_argument(text))) == (value, type(value))


@pytest.mark.parametrize(
    ("source", "library"),
    [("timm/resnet18", "timm"), ("resnet18", None), ("pkg.mod:Net", None), (None, None)],
)
def test_the_library_of_a_name(source: str | None, library: str | None) -> None:
    assert library_of(source) == library


@needs("timm", "torchvision")
@pytest.mark.parametrize(
    ("source", "args"),
    [
        ("torchvision/mobilenet_v3_small", {"width_mult": "0.5", "dropout": "0.3"}),
        ("torchvision/googlenet", {"aux_logits": "false"}),
        ("timm/resnet10t", {"drop_rate": "0.1", "global_pool": "avg"}),
    ],
)
def test_a_network_depends_on_arguments_classes_and_seed(source: str, args: dict[str, str]) -> None:
    import torch

    user = load_entrypoint(source, args)
    one, same, other = (user.build(classes=7, seed=seed) for seed in (5, 5, 6))
    states = [torch.cat([each.flatten() for each in net.state_dict().values()]) for net in (one, same, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert one.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


REFUSED = {
    "an unknown name": ("torchvision/resnt18", {}, "spec.model.name", "did you mean torchvision/resnet18"),
    "nothing like it": ("timm/qqqqqqqq", {}, "spec.model.name", "write one of timm.list_models()"),
    "a detector": ("torchvision/ssd300_vgg16", {}, "no classification network", "torchvision"),
    "a segmentation network": ("torchvision/fcn_resnet50", {}, "no classification network", "torchvision"),
    "weights of torchvision": (
        "torchvision/resnet18",
        {"weights": "DEFAULT"},
        "spec.model.args.weights",
        "remove it",
    ),
    "weights of timm": ("timm/resnet18", {"pretrained": "true"}, "spec.model.args.pretrained", "remove it"),
    "a file of weights": (
        "timm/resnet18",
        {"checkpoint_path": "/etc/passwd"},
        "no digest names",
        "remove it",
    ),
    "features": ("timm/resnet18", {"features_only": "true"}, "changes what the network returns", "remove it"),
    "classes": ("timm/resnet18", {"num_classes": "3"}, "spec.model.args.num_classes", "of the dataset"),
    "an unknown argument": (
        "torchvision/resnet18",
        {"wdith": "3"},
        "cannot be built",
        "check spec.model.args",
    ),
    "an argument of another type": (
        "torchvision/resnet18",
        {"groups": "many"},
        "cannot be built",
        "spec.model.args",
    ),
    "auxiliary outputs": ("torchvision/googlenet", {}, "auxiliary outputs", 'value: "false"'),
}


@needs("timm", "torchvision")
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    source, args, *says = REFUSED[case]
    with pytest.raises(UserError) as caught:
        load_entrypoint(source, args).build(classes=3, seed=1)
    assert caught.value.reason == "ModelError"
    assert [word for word in says if word not in caught.value.message] == [], caught.value.message
    assert "\n" not in caught.value.message


@needs("timm", "torchvision")
def test_the_digest_is_of_python_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = library_digest("torchvision")
    sources, root = library_networks.installed_sources("torchvision")
    built = {path: b"" if path.endswith(".so") else data for path, data in sources.files.items()}
    patched = built | {"torchvision/models/resnet.py": b"# patched"}
    digests = []
    for files in (built, patched):
        monkeypatch.setattr(
            library_networks, "installed_sources", lambda _, files=files: (type(sources)(files=files), root)
        )
        digests.append(library_digest.__wrapped__("torchvision"))
    assert digests[0] == before
    assert digests[1] != before


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"spec\.model\.name: timm is not installed .*; install seedbed\[zoo\]"
    ):
        library_digest.__wrapped__("timm")
