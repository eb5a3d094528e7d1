"""The probe step finds what would make a model depend on time, chance or the owner of a leaf."""

import pytest

from seedbed.arithmetic.arithmetic_config import Arithmetic
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.usercode import fetch_code, load_entrypoint
from seedbed.usercode.determinism_probe import probe_step
from seedbed_api.errors import UserError
from unit.usercode.leaves import a_leaf

ARITHMETIC = Arithmetic(leaves=4, leaf_rows=4, classes=5, seed=3, learning_rate=LearningRate(base=0.1))

NETWORK = """
import os, time, random, numpy, torch
from torch import nn
CALLS = [0]
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)
        self.cache = None
        {init}
    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        {forward}
        return self.head(y)
class Net:
    def build(self, args):
        return Network()
    {more}
"""


LOSS = "def loss(self, model, batch): return {}"
CROSS = "nn.functional.cross_entropy(model(batch.images_mchw), batch.labels_m)"


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        pytest.param(f"float({CROSS})", ["of type float", "without .item()"], id="a float"),
        pytest.param(f"{CROSS}.item()", ["of type float", "without .item()"], id="an item"),
        pytest.param("1", ["of type int", "return the tensor itself"], id="an int"),
        pytest.param(f"{CROSS}.detach().numpy()", ["of type ndarray", ".numpy()"], id="an array"),
        pytest.param("None", ["of type NoneType", "with return"], id="nothing"),
        pytest.param(f"({CROSS}, 1)", ["of type tuple", "the loss alone"], id="a tuple"),
        pytest.param(f"dict(loss={CROSS})", ["of type dict", "the loss alone"], id="a dict"),
        pytest.param("nn.CrossEntropyLoss()", ["of type CrossEntropyLoss", "call it"], id="a loss that is not called"),
        pytest.param("model(batch.images_mchw)", ["shape (4, 5)", ".mean()"], id="logits"),
        pytest.param(f"{CROSS}.reshape(1)", ["shape (1,)", ".mean()"], id="one element"),
        pytest.param(f"{CROSS}.detach()", ["no gradient", ".detach()"], id="detached"),
        pytest.param("torch.tensor(1.0)", ["no gradient", "torch.tensor()"], id="a constant"),
        pytest.param(f"{CROSS}.long()", ["int64", "floating"], id="an integer tensor"),
        pytest.param(f"{CROSS}.to(torch.complex64)", ["complex64", "real"], id="complex"),
        pytest.param("[x := " + CROSS + ", x.backward(), x][2]", ["leave backward() to Seedbed"], id="a backward pass of its own"),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_trained_on_says_what_to_return(tmp_path, returned, words):
    with pytest.raises(UserError) as caught:
        probe(tmp_path, more=LOSS.format(returned))
    assert [each for each in words if each not in caught.value.message] == [], caught.value.message


def probe(tmp_path, *, init="pass", forward="pass", more=""):
    (tmp_path / "probed.py").write_text(NETWORK.format(init=init, forward=forward, more=more))
    user = load_entrypoint("probed:Net", {}, fetch_code(str(tmp_path)))
    probe_step(user, ARITHMETIC, [a_leaf(leaf) for leaf in range(4)])


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({}, id="a plain network with BatchNorm"),
        pytest.param({"forward": "y = nn.functional.dropout(y, 0.5, self.training)"}, id="dropout from the leaf's generator"),
        pytest.param({"forward": "y = y + torch.randn_like(y)"}, id="noise from the leaf's generator"),
        pytest.param({"forward": "y = y + float(numpy.random.rand())"}, id="numpy's global generator"),
        pytest.param({"forward": "y = y + random.random()"}, id="Python's global generator"),
        pytest.param({"init": "self.head.weight.data.fill_(random.random() + numpy.random.rand())"}, id="seeded first weights"),
        pytest.param({"more": "def loss(self, model, batch): return model(batch.images_mchw).square().mean()"}, id="a loss of one's own"),
    ],
)  # fmt: skip
def test_a_deterministic_network_passes(tmp_path, parts):
    probe(tmp_path, **parts)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        pytest.param({"forward": "y = y * (1 + time.perf_counter() % 1)"}, "not deterministic: loss (leaf 0) differs when run twice", id="time"),
        pytest.param({"forward": "y = y + float(numpy.random.default_rng().random())"}, "not deterministic: loss (leaf 0) differs when run twice", id="a generator of numpy seeded by the kernel"),
        pytest.param({"forward": "y = y + random.SystemRandom().random()"}, "not deterministic: loss (leaf 0) differs when run twice", id="the kernel's generator"),
        pytest.param({"forward": "y = y if self.training else y + time.perf_counter() % 1"}, "not deterministic: logits (evaluation batch 0) differs when it is evaluated again", id="time in evaluation alone"),
        pytest.param({"init": "self.late = False", "forward": "y = y * 2 if self.late else y; self.late = self.late or not self.training"}, "not deterministic: loss (leaf 0) differs after an evaluation", id="an evaluation that changes the training"),
        pytest.param({"forward": "y = y + os.urandom(1)[0] / 255"}, "not deterministic: loss", id="os.urandom"),
        pytest.param({"forward": "y = y * torch.rand(1, generator=torch.Generator().manual_seed(time.perf_counter_ns()))"}, "not deterministic: loss", id="a generator seeded by time"),
        pytest.param({"init": "self.head.bias.data.fill_(time.perf_counter() % 1)"}, "head.bias (initial value) differs when built twice", id="first weights from the clock"),
        pytest.param({"init": "self.head.bias.data.copy_(torch.tensor(list(os.urandom(5))))"}, "head.bias (initial value)", id="first weights from the kernel"),
        pytest.param({"forward": "CALLS[0] += 1; y = y * CALLS[0]"}, "not deterministic: loss (leaf 0) differs when run twice", id="a global counter"),
        pytest.param({"forward": "y = y if self.cache is None else y + self.cache; self.cache = y.detach()"}, "differs when leaves run in another order", id="memory of the leaf before"),
        pytest.param({"forward": "y = y + 0 * self.head.bias.sum() if self.head.bias.register_hook(lambda g: g * (time.perf_counter_ns() % 1_000_003)) else y"}, "gradient of head.bias (leaf 0)", id="time in the backward pass alone"),
        pytest.param({"init": "self.unused = nn.Linear(2, 2)"}, "parameter unused.weight took no part in the loss", id="a parameter without gradient"),
        pytest.param({"init": "[p.requires_grad_(False) for p in self.parameters()]"}, "no parameter to train", id="nothing to train"),
        pytest.param({"more": "def loss(self, model, batch): return model(batch.images_mchw)"}, "a scalar is needed", id="a loss that is no number"),
        pytest.param({"init": "self.table = nn.Embedding(2, 4, sparse=True)", "forward": "y = y + self.table((x[:, 0, 0, 0] > 0).long())"}, "gradient of table.weight is sparse", id="a sparse gradient"),
        pytest.param({"forward": "return (self.head(y), y) if self.training else self.head(y)"}, "in training mode the model returned tuple", id="auxiliary outputs"),
        pytest.param({"forward": "y = y[:, :3]"}, "forward and backward raised at probed.py:16 RuntimeError", id="sizes that do not fit"),
    ],
)  # fmt: skip
def test_what_would_change_bits_is_named(tmp_path, parts, words):
    with pytest.raises(UserError) as caught:
        probe(tmp_path, **parts)
    assert words in caught.value.message
    assert caught.value.reason == "ModelError"
    assert "\n" not in caught.value.message
