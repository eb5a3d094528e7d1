"""Entrypoints: what loads, what is refused, and that every refusal is one line with a place."""

import random
import sys

import numpy as np
import pytest
import torch

from seedbed.usercode import CodeArchive, check_network, fetch_code, load_entrypoint
from seedbed_api.errors import UserError

GOOD = """
import torch
from torch import nn

class Net:
    def build(self, args):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, int(args["classes"]) + int(args.get("extra", "0"))))
    def metrics(self, confusion):
        return {"first": confusion[0, 0] / confusion.sum()}
"""


def code(tmp_path, text=GOOD, name="mynet.py") -> CodeArchive:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    return fetch_code(str(tmp_path))


def load_and_check(entrypoint, args, archive):
    user = load_entrypoint(entrypoint, args, archive)
    check_network(user, user.build(classes=5, seed=1), images_mchw=torch.zeros(4, 3, 8, 8), classes=5)


def refusal_of(tmp_path, text, entrypoint="mynet:Net", args=None):
    with pytest.raises(UserError) as caught:
        load_and_check(entrypoint, args or {}, code(tmp_path, text))
    assert caught.value.reason == "ModelError"
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value


def body(build, *, before=""):
    return f"import torch\nfrom torch import nn\n{before}\nclass Net:\n    def build(self, args):\n        {build}\n"


def test_a_network_of_the_user_builds_from_seed_and_arguments(tmp_path):
    user = load_entrypoint("mynet:Net", {"extra": "2"}, code(tmp_path))
    first, again, other = (user.build(classes=5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[1].weight, again[1].weight)
    assert not torch.equal(first[1].weight, other[1].weight)
    assert first[1].out_features == 7
    assert user.source_digest == code(tmp_path).digest
    assert user.metrics(np.eye(2, dtype=np.int64)) == {"first": 0.5}
    assert user.objective is None


def test_building_leaves_all_generators_alone(tmp_path):
    text = body("import random, numpy; random.random(); numpy.random.rand(); return nn.Linear(2, 2)")
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist())
    load_entrypoint("mynet:Net", {}, code(tmp_path, text)).build(classes=2, seed=1)
    assert before == (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.random.get_rng_state().tolist(),
    )


@pytest.mark.parametrize(
    ("text", "entrypoint", "words"),
    [
        pytest.param("x = 1\nraise ValueError('no\\nway')", "mynet:Net", "import raised at mynet.py:2 ValueError: no ", id="import raises"),
        pytest.param("def broken(:\n", "mynet:Net", "import raised at mynet.py:1 SyntaxError", id="syntax error"),
        pytest.param("import torchvisionary", "mynet:Net", "mynet.py:1 ModuleNotFoundError: No module named 'torchvisionary'", id="a dependency is missing"),
        pytest.param("import sys; sys.exit(0)", "mynet:Net", "SystemExit", id="import exits"),
        pytest.param(GOOD, "mynett:Net", "there is no module mynett", id="module misspelt"),
        pytest.param(GOOD, "mynet.deep:Net", "there is no module mynet.deep", id="submodule misspelt"),
        pytest.param(GOOD, "mynet:Nett", "mynet has no Nett (got 'mynet:Nett'); it has torch, nn, Net", id="object misspelt"),
        pytest.param("Net = 7", "mynet:Net", "has no build(args)", id="no build"),
        pytest.param("class Net:\n    def __init__(self, x): ...\n", "mynet:Net", "Net() raised TypeError", id="constructor wants arguments"),
        pytest.param(body("return None"), "mynet:Net", "build returned NoneType", id="build returns nothing"),
        pytest.param(body("return nn.Linear(int(args['depth']), 1)"), "mynet:Net", "build raised at mynet.py:6 KeyError: 'depth'", id="an argument is missing"),
        pytest.param(body("return nn.Sequential(nn.Flatten(), nn.Linear(192, 6))"), "mynet:Net", "forward returned torch.float32 (4, 6) for 4 images of 5 classes", id="too many classes"),
        pytest.param(body("return nn.Conv2d(3, 5, 3)"), "mynet:Net", "forward returned torch.float32 (4, 5, 6, 6)", id="a map instead of logits"),
        pytest.param(body("return nn.Sequential(nn.Flatten(), nn.Linear(100, 5))"), "mynet:Net", "shapes cannot be multiplied (4x192 and 100x5)", id="sizes do not fit"),
        pytest.param(body("return Odd()", before="class Odd(nn.Module):\n    def forward(self, x): return {'logits': x}\n"), "mynet:Net", "forward returned dict", id="a dict"),
        pytest.param(body("return Odd()", before="class Odd(nn.Module):\n    def forward(self, x): return x.sum((1, 2, 3))[:, None].long().expand(-1, 5)\n"), "mynet:Net", "forward returned torch.int64 (4, 5)", id="integers"),
        pytest.param(body("return Odd()", before="class Odd(nn.Module):\n    def forward(self, x):\n        raise OSError('disk')\n"), "mynet:Net", "forward raised at mynet.py:5 OSError: disk", id="forward raises"),
        pytest.param(body("return nn.Sequential(nn.Flatten(), nn.SyncBatchNorm(192), nn.Linear(192, 5))"), "mynet:Net", "SyncBatchNorm", id="SyncBatchNorm"),
        pytest.param(body("return nn.Sequential(nn.BatchNorm2d(3, momentum=None), nn.Flatten(), nn.Linear(192, 5))"), "mynet:Net", "momentum", id="BatchNorm without momentum"),
        pytest.param(body("return Odd()", before="class Odd(nn.Module):\n    def __init__(self):\n        super().__init__(); self.l = nn.Linear(192, 5); self.register_buffer('seen', torch.zeros(1))\n    def forward(self, x):\n        self.seen += 1; return self.l(x.flatten(1))\n"), "mynet:Net", "seen", id="a buffer that counts"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_it(tmp_path, text, entrypoint, words):
    assert words in refusal_of(tmp_path, text, entrypoint).message


MODULE = """
import torch.nn as layers
from torch import nn
class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
def build(args):
    return Network(5)
network = nn.Flatten()
class Net:
    def build(self, args):
        return Network
class Later:
    async def build(self, args):
        return Network(5)
class Bare:
    def build(self):
        return Network(5)
class Named:
    loss = "cross_entropy"
    def build(self, args):
        return Network(5)
class Counted:
    metrics = 7
    def build(self, args):
        return Network(5)
"""


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        pytest.param("mynet:mynet", ["mynet has no mynet", "name what has a build(args): Net"], id="the module itself"),
        pytest.param("mynet:layers", ["layers is a module and has no build(args)", "name a class or object"], id="a module"),
        pytest.param("mynet:build", ["build is a function and has no build(args)", "a method build(args)"], id="a function"),
        pytest.param("mynet:Network", ["Network is a network and has no build(args)"], id="a class of networks"),
        pytest.param("mynet:network", ["network is a network and has no build(args)"], id="a network"),
        pytest.param("mynet.py:Net", ["there is no module mynet.py", "write mynet:Net"], id="a file"),
        pytest.param("code.mynet:Net", ["there is no module code", "the code has mynet"], id="the folder's name before it"),
        pytest.param("mynet:Net", ["build returned the class Network", "return an instance: Network("], id="a class instead of a network"),
        pytest.param("mynet:Later", ["build returned a coroutine", "without async"], id="an async build"),
        pytest.param("mynet:Bare", ["takes 1 positional argument", "it is called as build(args)"], id="a build without arguments"),
        pytest.param("mynet:Named", ["its loss is of type str", "loss(model, batch)"], id="a loss that is a name"),
        pytest.param("mynet:Counted", ["its metrics is of type int", "metrics(confusion)"], id="metrics that are a number"),
    ],
)  # fmt: skip
def test_an_entrypoint_that_cannot_build_says_what_to_name(tmp_path, entrypoint, words):
    message = refusal_of(tmp_path, MODULE, entrypoint).message
    assert [each for each in words if each not in message] == [], message


def test_the_traceback_is_kept_for_the_log(tmp_path):
    error = refusal_of(tmp_path, body("return 1 / 0"))
    assert isinstance(error.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "name",
    [
        "torch.py",
        "json.py",
        "seedbed/__init__.py",
        "PIL.py",
        "yaml.py",
        "pyarrow/__init__.py",
        "click.py",
        "pandas.py",
    ],
)
def test_code_that_would_hide_a_module_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="would hide the module"):
        load_entrypoint("mynet:Net", {}, code(tmp_path, name=name))


@pytest.mark.parametrize("name", ["models.py", "tests/__init__.py", "sklearn.py", "utils.py"])
def test_code_that_hides_nothing_of_ours_is_taken(tmp_path, name):
    (tmp_path / "mynet.py").write_text(GOOD)
    assert load_entrypoint("mynet:Net", {}, code(tmp_path, text="", name=name)).metrics


def test_two_versions_of_one_module_do_not_mix(tmp_path):
    digests = set()
    for width in (3, 4, 3):
        text = body(f"return nn.Linear({width}, 2)")
        user = load_entrypoint("mynet:Net", {}, code(tmp_path / str(width), text))
        assert user.build(classes=2, seed=0).in_features == width
        digests.add(user.source_digest)
    assert len(digests) == 2


def test_an_entrypoint_of_an_installed_package(tmp_path, monkeypatch):
    (tmp_path / "installed_net.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    user = load_entrypoint("installed_net:Net", {})
    assert user.build(classes=3, seed=0)[1].out_features == 3
    sys.modules.pop("installed_net")
    with pytest.raises(UserError, match="there is no module nowhere_at_all"):
        load_entrypoint("nowhere_at_all.net:Net", {})


def test_a_loss_of_the_user_is_called_with_the_leaf_and_blamed_by_line(tmp_path):
    text = (
        GOOD
        + "    def loss(self, model, batch):\n        return (model(batch.images_mchw) * batch.labels_m.nope()).sum()\n"
    )
    user = load_entrypoint("mynet:Net", {}, code(tmp_path, text))
    with pytest.raises(UserError, match=r"loss raised at mynet.py:11 AttributeError"):
        user.objective(
            user.build(classes=5, seed=0), torch.zeros(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)
        )


def test_out_of_memory_is_not_the_fault_of_the_code(tmp_path):
    user = load_entrypoint("mynet:Net", {}, code(tmp_path, body("raise torch.OutOfMemoryError('full')")))
    with pytest.raises(torch.OutOfMemoryError):
        user.build(classes=5, seed=0)
