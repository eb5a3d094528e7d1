"""From `pkg.module:Object` to a network: import the user's code, build, and check that the network fits.

User code supplies `build(args)`, optionally `loss(model, batch)` and `metrics(confusion)`; order, reduction,
optimizer step and checkpoints stay ours. Shapes: m rows, c h w of a picture, k classes.
"""

from __future__ import annotations

import atexit
import importlib
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.usercode.fetching import CodeArchive, installed_sources
from seedbed.usercode.refusing import blaming, one_line, refused
from seedbed.usercode.sources import Sources
from seedbed.usercode.wheels import read_wheel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

_OURS = frozenset({"seedbed", "seedbed_api", "seedbed_operator", "torch", "numpy", "ray"})
_unpacked: dict[str, Path] = {}
_loaded: dict[str, UserModel] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What a `loss(model, batch)` of the user gets: one leaf."""

    images_mchw: Tensor
    """Normalised float32 pictures on the device of the model."""
    labels_m: Tensor
    """Class indices, int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserModel:
    """A loaded entrypoint: what it builds depends on (args, classes, seed) and its source files."""

    entrypoint: str
    subject: Any
    """The object that the entrypoint names, instantiated if it is a class."""
    args: Mapping[str, str]
    source_digest: str
    root: Path
    """Folder of the source files, to name lines in errors."""
    files: frozenset[str] = frozenset()
    """The source files below `root`."""

    def build(self, *, classes: int, seed: int) -> nn.Module:
        """Return a new network. `args` has the number of classes as `classes` unless the manifest sets it.

        The generators of torch, numpy and random are seeded for the call and put back after it.
        Raises UserError ModelError.
        """
        from torch import nn

        with self.blaming("build"), _seeded(seed):
            network = self.subject.build({"classes": str(classes)} | dict(self.args))
        if not isinstance(network, nn.Module):
            fix = "return a torch.nn.Module from build(args)"
            raise refused("entrypoint", self.entrypoint, f"build returned {type(network).__name__}", fix)
        return network

    @property
    def objective(self) -> Callable[[nn.Module, Tensor, Tensor], Tensor] | None:
        """Return the user's loss as the arithmetic calls it, None where there is none."""
        loss = getattr(self.subject, "loss", None)
        if loss is None:
            return None

        def objective(model: nn.Module, images_mchw: Tensor, labels_m: Tensor) -> Tensor:
            with self.blaming("loss"):
                value: Tensor = loss(model, Batch(images_mchw=images_mchw, labels_m=labels_m))
            return value

        return objective

    def metrics(self, confusion_kk: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return the user's own metrics of a confusion matrix (true class, predicted class); {} without."""
        metrics = getattr(self.subject, "metrics", None)
        if metrics is None:
            return {}
        with self.blaming("metrics"):
            return {str(name): float(value) for name, value in dict(metrics(confusion_kk)).items()}

    def raised(self, error: BaseException) -> bool:
        """Say whether an exception came through the user's own files."""
        frames = (Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__))
        below = (path.relative_to(self.root) for path in frames if path.is_relative_to(self.root))
        return any(path.as_posix() in self.files for path in below)

    def blaming(self, action: str) -> Any:
        """Return a context manager that turns what user code raises into a ModelError with file and line."""
        return blaming(self.entrypoint, action, root=self.root)


def load_entrypoint(entrypoint: str, args: Mapping[str, str], code: CodeArchive | None = None) -> UserModel:
    """Import the object that `pkg.module:Object` names, from `code` or else from the environment.

    Raises UserError ModelError: no such module, import failed, no such attribute, no `build`.
    """
    module_name, _, attribute = entrypoint.partition(":")
    sources, root = installed_sources(module_name) if code is None else _unpack(code)
    with blaming(entrypoint, "import", root=root):
        module = _imported(module_name, entrypoint)
    subject = getattr(module, attribute, None)
    if subject is None:
        known = ", ".join(name for name in vars(module) if not name.startswith("_"))[:120]
        raise refused("entrypoint", entrypoint, f"{module_name} has no {attribute}", f"it has {known}")
    if isinstance(subject, type):
        with blaming(entrypoint, f"{attribute}()", root=root):
            subject = subject()
    if not callable(getattr(subject, "build", None)):
        raise refused("entrypoint", entrypoint, "has no build(args)", "add a method that returns the network")
    _loaded[entrypoint] = UserModel(
        entrypoint=entrypoint,
        subject=subject,
        args=dict(args),
        source_digest=sources.digest,
        root=root,
        files=frozenset(sources.files),
    )
    return _loaded[entrypoint]


@contextmanager
def blaming_loaded(entrypoint: str | None) -> Iterator[None]:
    """Turn what comes out of user code that this process has loaded into a ModelError; the rest passes."""
    try:
        yield
    except Exception as error:
        user = _loaded.get(entrypoint) if entrypoint else None
        if user is None or not user.raised(error):
            raise
        with user.blaming("training"):
            raise


def check_network(user: UserModel, network: nn.Module, *, images_mchw: Tensor, classes: int) -> None:
    """Run one batch forward and refuse what cannot be trained: shape, dtype, unsupported layers.

    Raises UserError ModelError. The network is left as it was.
    """
    import torch

    from seedbed.models.supported import UnsupportedModelError, check_supported

    with user.blaming("forward"):
        try:
            check_supported(network, images_mchw)
        except UnsupportedModelError as error:
            problem, _, fix = one_line(error).partition("; ")
            raise refused("entrypoint", user.entrypoint, problem, fix or "change the network") from error
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            was_training = network.training
            output = network.eval()(images_mchw)
            network.train(was_training)
    expected = (images_mchw.shape[0], classes)
    if (
        not isinstance(output, torch.Tensor)
        or tuple(output.shape) != expected
        or not output.is_floating_point()
    ):
        shown = _described(output)
        raise refused(
            "entrypoint",
            user.entrypoint,
            f"forward returned {shown} for {expected[0]} images of {classes} classes",
            f"return a floating tensor of shape {expected}",
        )


def _described(output: object) -> str:
    shape, dtype = getattr(output, "shape", None), getattr(output, "dtype", None)
    return type(output).__name__ if shape is None else f"{dtype} {tuple(shape)}"


def _imported(module_name: str, entrypoint: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            problem = f"there is no module {error.name}"
            raise refused("entrypoint", entrypoint, problem, "check the name before the colon") from error
        raise


def _unpack(code: CodeArchive) -> tuple[Sources, Path]:
    sources = read_wheel(code.wheel, name="code")
    assert sources.digest == code.digest, "the archive was changed on its way"
    if code.digest not in _unpacked:
        _refuse_shadowing(sources)
        _unpacked[code.digest] = _written(sources)
    root = _unpacked[code.digest]
    _forget_other_versions(sources, root)
    if str(root) in sys.path:
        sys.path.remove(str(root))
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    return sources, root


def _written(sources: Sources) -> Path:
    root = Path(tempfile.mkdtemp(prefix="seedbed-code-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for path, content in sources.files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def _refuse_shadowing(sources: Sources) -> None:
    clashes = sorted(sources.top_level & (_OURS | sys.stdlib_module_names))
    if clashes:
        problem = f"{clashes[0]} would hide the module of that name"
        raise refused("code", clashes[0], problem, "rename it, or put it into a package")


def _forget_other_versions(sources: Sources, root: Path) -> None:
    """Drop modules of the same name that came from elsewhere, so that `import` sees these files."""
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if name.partition(".")[0] in sources.top_level and not (origin and Path(origin).is_relative_to(root)):
            del sys.modules[name]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
