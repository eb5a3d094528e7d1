"""Loading of an entrypoint `pkg.module:Object`: imports the user's code and builds networks.

User code has `build(args)`, optionally `loss(model, batch)` and `metrics(confusion)`. Shapes: m rows, c h w
of an image, k classes.

Torch is imported where it is used: a driver that does not compute starts without it (2 s).
"""

from __future__ import annotations

import atexit
import importlib
import inspect
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from seedbed.startup.module_clashes import hidden_modules
from seedbed.usercode.code_source import CodeArchive, installed_sources
from seedbed.usercode.library_networks import LibraryNetwork, library_digest, library_of
from seedbed.usercode.source_digest import SourceFiles
from seedbed.usercode.user_error_messages import (
    Hint,
    attribute_user_errors,
    is_of_network,
    model_error,
    network_error,
)
from seedbed.usercode.wheel_files import read_wheel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

_unpacked: dict[str, Path] = {}
_loaded: dict[str, UserModel] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The argument of a user's `loss(model, batch)`: one leaf."""

    images_mchw: Tensor
    """Normalized float32 images on the device of the model."""
    labels_m: Tensor
    """Targets by the task of the dataset: class indices (m,) int64; 0 and 1 of k labels (m, k) uint8; k
    numbers (m, k) float64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserModel:
    """A loaded entrypoint; its networks depend on (args, classes, seed) and its source files."""

    entrypoint: str
    """`module:Object`, or `library/name` for a network of a library."""
    subject: Any
    """The object that the entrypoint names, instantiated if it is a class."""
    args: Mapping[str, str]
    source_digest: str
    root: Path | None
    """Folder of the source files, to name lines in errors; None for a library."""
    files: frozenset[str] = frozenset()
    """The source files below `root`."""

    def build(self, *, classes: int, seed: int) -> nn.Module:
        """Return a new network. `args` has the number of classes as `classes` unless the manifest sets it.

        The generators of torch, numpy and random are seeded for the call and restored after it.
        Raises UserError ModelError.
        """
        from torch import nn

        with self.attribute_errors("build"), _seeded(seed):
            network = self.subject.build({"classes": str(classes)} | dict(self.args))
        if not isinstance(network, nn.Module):
            raise network_error(self.entrypoint, *_no_network(network))
        return network

    @property
    def objective(self) -> Callable[[nn.Module, Tensor, Tensor], Tensor] | None:
        """Return the user's loss as the arithmetic calls it, None where there is none."""
        loss = getattr(self.subject, "loss", None)
        if loss is None:
            return None

        def objective(model: nn.Module, images_mchw: Tensor, labels_m: Tensor) -> Tensor:
            with self.attribute_errors("loss"):
                value: Tensor = loss(model, Batch(images_mchw=images_mchw, labels_m=labels_m))
            return value

        return objective

    def metrics(self, confusion_kk: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return the user's own metrics of a confusion matrix (true class, predicted class), or {}."""
        metrics = getattr(self.subject, "metrics", None)
        if metrics is None:
            return {}
        with self.attribute_errors("metrics"):
            return {str(name): float(value) for name, value in dict(metrics(confusion_kk)).items()}

    def modules(self) -> dict[str, ModuleType]:
        """Return the modules of the user's own files that this process has imported, by name."""
        if self.root is None:
            return {}
        root, found = str(self.root), {}
        for name, module in list(sys.modules.items()):  # thousands, and the probe asks after each leaf
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(root) and self._holds(file):
                found[name] = module
        return found

    def _holds(self, filename: str) -> bool:
        path = Path(filename)
        own = self.root is not None and path.is_relative_to(self.root)
        return own and path.relative_to(self.root or "").as_posix() in self.files

    def raised(self, error: BaseException) -> bool:
        """Say whether an exception came through the user's own files."""
        return any(self._holds(frame.filename) for frame in traceback.extract_tb(error.__traceback__))

    def attribute_errors(self, action: str, *, hint: Hint | None = None) -> Any:
        """Return a context manager that converts errors of user code into a ModelError with file and line."""
        return attribute_user_errors(self.entrypoint, action, root=self.root, files=self.files, hint=hint)


def load_entrypoint(entrypoint: str, args: Mapping[str, str], code: CodeArchive | None = None) -> UserModel:
    """Import the object that `pkg.module:Object` names, from `code` or else from the environment.

    For `library/name` return that network of the library.
    Raises UserError ModelError: no such module, import failed, no such attribute, no `build`.
    """
    if library := library_of(entrypoint):
        return _library_model(entrypoint, args, library)
    module_name, _, attribute = entrypoint.partition(":")
    sources, root = installed_sources(module_name) if code is None else _unpack(code)
    files = frozenset(sources.files)
    with attribute_user_errors(entrypoint, "import", root=root, files=files):
        module = _imported(module_name, entrypoint, known=sources.top_level)
    subject = getattr(module, attribute, None)
    if subject is None:
        raise network_error(entrypoint, f"{module_name} has no {attribute}", _attribute_hint(module))
    if isinstance(subject, type) and not _is_network(subject):
        with attribute_user_errors(entrypoint, f"{attribute}()", root=root, files=files):
            subject = subject()
    _check_members(entrypoint, subject)
    _loaded[entrypoint] = UserModel(
        entrypoint=entrypoint,
        subject=subject,
        args=dict(args),
        source_digest=sources.digest,
        root=root,
        files=files,
    )
    return _loaded[entrypoint]


def _library_model(source: str, args: Mapping[str, str], library: str) -> UserModel:
    digest = library_digest(library)
    with attribute_user_errors(source, "import", root=None):
        subject = LibraryNetwork(source)
    _loaded[source] = UserModel(
        entrypoint=source, subject=subject, args=dict(args), source_digest=digest, root=None
    )
    return _loaded[source]


@contextmanager
def attribute_loaded_errors(entrypoint: str | None) -> Iterator[None]:
    """Convert errors of user code that this process has loaded into a ModelError; pass others on."""
    try:
        yield
    except BaseException as error:
        user = _loaded.get(entrypoint) if entrypoint else None
        if user is None or not (user.raised(error) or is_of_network(error)):
            raise
        with user.attribute_errors("training"):
            raise


def _no_network(built: object) -> tuple[str, str]:
    """Return problem and fix of a build that did not return a network."""
    if isinstance(built, type):
        return f"build returned the class {built.__name__}", f"return an instance: {built.__name__}(…)"
    if inspect.iscoroutine(built):
        built.close()
        return "build returned a coroutine", "make build(args) a plain function, without async"
    return f"build returned {type(built).__name__}", "return a torch.nn.Module from build(args)"


def _attribute_hint(module: ModuleType) -> str:
    names = [name for name in vars(module) if not name.startswith("_")]
    builders = [name for name in names if callable(getattr(vars(module)[name], "build", None))]
    listing = f"it has {', '.join(names)[:120]}"
    return f"{listing}; name what has a build(args): {', '.join(builders)[:120]}" if builders else listing


def _check_members(entrypoint: str, subject: object) -> None:
    """Reject an object without build(), or whose loss or metrics are not functions."""
    if not callable(getattr(subject, "build", None)):
        raise network_error(entrypoint, *_no_builder(entrypoint, subject))
    for member, signature in (("loss", "loss(model, batch)"), ("metrics", "metrics(confusion)")):
        value = getattr(subject, member, None)
        if value is not None and not callable(value):
            problem = f"its {member} is of type {type(value).__name__}, no function"
            raise network_error(entrypoint, problem, f"make it a method {signature}, or remove it")


def _no_builder(entrypoint: str, subject: object) -> tuple[str, str]:
    """Return problem and fix of an object without `build`."""
    name = entrypoint.partition(":")[2]
    fix = "name a class or object with a method build(args) that returns the network"
    if isinstance(subject, ModuleType):
        return f"{name} is a module and has no build(args)", f"{fix}, as in {subject.__name__}:Network"
    if inspect.isroutine(subject):
        return f"{name} is a function and has no build(args)", fix
    if _is_network(subject):
        return f"{name} is a network and has no build(args)", fix
    return "has no build(args)", "add a method that returns the network"


def _is_network(subject: object) -> bool:
    """Say whether an object is a torch.nn.Module, or a class of such, that is no entrypoint by itself."""
    torch = sys.modules.get("torch")
    if torch is None or callable(getattr(subject, "build", None)):
        return False
    kind = subject if isinstance(subject, type) else type(subject)
    return issubclass(kind, torch.nn.Module)


def _imported(module_name: str, entrypoint: str, *, known: Collection[str]) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            problem, fix = f"there is no module {error.name}", "check the name before the colon"
            if module_name.endswith(".py"):
                fix = f"write {entrypoint.replace('.py:', ':')}, without .py"
            elif module_name.partition(".")[0] not in known:
                fix += f": the code has {', '.join(sorted(known))[:120]}"
            raise network_error(entrypoint, problem, fix) from error
        raise


def _unpack(code: CodeArchive) -> tuple[SourceFiles, Path]:
    sources = read_wheel(code.wheel, name="code")
    assert sources.digest == code.digest, "the archive was changed on its way"
    if code.digest not in _unpacked:
        _reject_shadowing(sources)
        _unpacked[code.digest] = _written(sources)
    root = _unpacked[code.digest]
    _forget_other_versions(sources, root)
    if str(root) in sys.path:
        sys.path.remove(str(root))
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    return sources, root


def _written(sources: SourceFiles) -> Path:
    root = Path(tempfile.mkdtemp(prefix="seedbed-code-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for path, content in sources.files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def _reject_shadowing(sources: SourceFiles) -> None:
    clashes = hidden_modules(sorted(sources.top_level), searched=sys.path)
    if clashes:
        problem = f"{clashes[0]} would hide the module of that name"
        raise model_error("code", clashes[0], problem, "rename it, or put it into a package")


def _forget_other_versions(sources: SourceFiles, root: Path) -> None:
    """Drop modules of the same name that came from elsewhere, so that `import` sees these files."""
    top_level = sources.top_level
    for name, module in list(sys.modules.items()):  # thousands
        if name.partition(".")[0] not in top_level:
            continue
        origin = getattr(module, "__file__", None)
        if not (origin and Path(origin).is_relative_to(root)):
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
