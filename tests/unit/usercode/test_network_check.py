"""A network that does not take the pictures says which ones it takes, at which line of the user, in which of a library."""

import pytest
import torch

from seedbed.usercode import check_network, fetch_code, load_entrypoint
from seedbed_api.errors import UserError

NETWORK = """
import collections
import torch
from torch import nn
Answer = collections.namedtuple("Answer", "logits aux")
class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        {layers}
    def forward(self, x):
        {forward}
class Net:
    def build(self, args):
        return Network(int(args["classes"]))
"""
LIBRARY = """
from torch import nn
class Patches(nn.Module):
    def forward(self, x):
        assert x.shape[-1] == 48, f"Input height ({x.shape[-1]}) doesn't match model (48)"
        return x.mean((2, 3))
class Silent(nn.Module):
    def forward(self, x):
        assert x.shape[-1] == 48
        return x.mean((2, 3))
def logits(x):
    raise RuntimeError("the library's own fault")
"""
CONV = "self.conv = nn.Conv2d(3, 5, 3)"


def refusal_of(tmp_path, monkeypatch, *, layers="pass", forward="return x", size=12, rows=4) -> str:
    library = tmp_path / "site"
    library.mkdir()
    (library / "patchlib.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(library)
    code = tmp_path / "code"
    code.mkdir()
    (code / "pictured.py").write_text(NETWORK.format(layers=layers, forward=forward))
    user = load_entrypoint("pictured:Net", {}, fetch_code(str(code)))
    network = user.build(classes=5, seed=1)
    with pytest.raises(UserError) as caught:
        check_network(user, network, images_mchw=torch.rand(rows, 3, size, size), classes=5)
    assert caught.value.reason == "ModelError"
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        pytest.param({"layers": "self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.MaxPool2d(16))", "forward": "return self.body(x).mean((2, 3))"}, ["pictured.py:11", "Output size is too small", "set the size in spec.training.augmentation", "24 (now 12)"], id="a picture too small"),
        pytest.param({"layers": "self.fc = nn.Linear(3 * 28 * 28, 5)", "forward": "return self.fc(x.flatten(1))"}, ["pictured.py:11", "28 (now 12)"], id="one size alone, larger"),
        pytest.param({"layers": "self.fc = nn.Linear(3 * 16 * 16, 5)", "forward": "return self.fc(x.flatten(1))", "size": 100}, ["16 (now 100)"], id="one size alone, smaller"),
        pytest.param({"layers": "self.conv = nn.Conv2d(1, 5, 3)", "forward": "return self.conv(x).mean((2, 3))"}, ["give its first layer 3 channels (RGB) instead of 1"], id="grey pictures"),
        pytest.param({"layers": "self.conv = nn.Conv2d(4, 5, 3)", "forward": "return self.conv(x).mean((2, 3))"}, ["3 channels (RGB) instead of 4"], id="pictures with alpha"),
        pytest.param({"layers": "self.fc = nn.Linear(784, 5)", "forward": "return self.fc(x.flatten(1))"}, ["3 channels (RGB) instead of 1", "28 (now 12)"], id="grey pictures of one size"),
        pytest.param({"layers": "self.fc = nn.Linear(7, 5)", "forward": "return self.fc(x.flatten(1))"}, ["shapes cannot be multiplied", "fix the model's code"], id="no picture at all"),
        pytest.param({"layers": f"{CONV}; self.norm = nn.BatchNorm1d(5)", "forward": "return self.norm(self.conv(x).mean((2, 3)))", "rows": 1}, ["more than 1 value per channel", "microSize to 2 or more"], id="BatchNorm with one row per leaf"),
        pytest.param({"layers": f"{CONV}; self.norm = nn.BatchNorm2d(5)", "forward": "return self.norm(self.conv(x).mean((2, 3), keepdim=True)).flatten(1)", "rows": 1}, ["microSize to 2 or more"], id="BatchNorm with one row of 1 x 1"),
        pytest.param({"layers": "from patchlib import Patches; self.patches = Patches()", "forward": "return self.patches(x)"}, ["at pictured.py:11 AssertionError: Input height (12)", ", in patchlib.py:5 (", "48 (now 12)"], id="an assert of a library"),
        pytest.param({"layers": "from patchlib import Silent; self.patches = Silent()", "forward": "return self.patches(x)"}, ["AssertionError: assert x.shape[-1] == 48, in patchlib.py:9", "48 (now 12)"], id="an assert without a word"),
        pytest.param({"layers": "import patchlib; self.lib = patchlib", "forward": "return self.lib.logits(x)"}, ["at pictured.py:11 RuntimeError: the library's own fault, in patchlib.py:12", "fix the model's code"], id="an error of a library"),
        pytest.param({"forward": "assert False"}, ["at pictured.py:11 AssertionError: assert False"], id="an assert of the user"),
        pytest.param({"layers": CONV, "forward": "return {'logits': self.conv(x).mean((2, 3))}"}, ["forward returned dict", "the logits alone"], id="a dict"),
        pytest.param({"layers": CONV, "forward": "y = self.conv(x).mean((2, 3)); return Answer(y, y)"}, ["forward returned Answer", "the logits alone"], id="a namedtuple"),
        pytest.param({"layers": CONV, "forward": "return self.conv(x).mean((2, 3)).to(torch.complex64)"}, ["forward returned torch.complex64", "floating"], id="complex logits"),
        pytest.param({"layers": CONV, "forward": "self.late = getattr(self, 'late', None) or (None if self.training else nn.Linear(5, 5)); return self.conv(x).mean((2, 3))"}, ["late.bias: is made in an evaluation"], id="a layer made in an evaluation"),
        pytest.param({"layers": CONV, "forward": "return self.conv(x).mean((2, 3)) * float('nan')"}, ["NaN before the first step"], id="NaN"),
    ],
)  # fmt: skip
def test_the_refusal_says_what_would_fit(tmp_path, monkeypatch, parts, says):
    message = refusal_of(tmp_path, monkeypatch, **parts)
    assert [words for words in says if words not in message] == [], message


def test_a_network_of_a_library_alone_is_told_by_the_librarys_line(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "patchlib.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "code").mkdir()
    text = "import patchlib\nclass Net:\n    def build(self, args):\n        return patchlib.Patches()\n"
    (tmp_path / "code" / "thin.py").write_text(text)
    user = load_entrypoint("thin:Net", {}, fetch_code(str(tmp_path / "code")))
    with pytest.raises(
        UserError, match=r"forward raised AssertionError: .*, in patchlib\.py:5 .*48 \(now 12\)"
    ):
        check_network(user, user.build(classes=3, seed=1), images_mchw=torch.rand(4, 3, 12, 12), classes=3)
