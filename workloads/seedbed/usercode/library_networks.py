"""Networks of torchvision and timm by `library/name`, with random weights and arguments of a manifest."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from seedbed.usercode.code_source import installed_sources
from seedbed.usercode.source_digest import SourceFiles
from seedbed.usercode.user_error_messages import model_error
from seedbed_api.errors import UserError
from seedbed_api.strict_json import parse_json

if TYPE_CHECKING:
    from torch import nn

_WEIGHTS: Final = frozenset(
    {
        "weights",
        "weights_backbone",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "checkpoint_path",
    }
)
"""Arguments by which a library would fetch weights from elsewhere."""
_CLASSES: Final = "num_classes"
_OUTPUTS: Final = frozenset({"features_only", "scriptable", "exportable"})
"""Arguments of timm that change what a network returns or is."""


def library_of(source: str | None) -> str | None:
    """Return the library of `library/name`; None for a built-in model and an entrypoint."""
    library, slash, _ = (source or "").partition("/")
    return library if slash else None


@cache
def library_digest(library: str) -> str:
    """Return `sha256:…` over the Python files of an installed library: equal for all builds of a version.

    Raises UserError ModelError where it is not installed.
    """
    try:
        sources, _ = installed_sources(library)
    except UserError as error:
        fix = "install seedbed[zoo], or use an image that has it"
        raise model_error("name", f"{library}/…", f"{library} is not installed", fix) from error
    return SourceFiles(
        files={path: data for path, data in sources.files.items() if path.endswith(".py")}
    ).digest


class LibraryNetwork:
    """A network of a library, with `build(args)` like an entrypoint."""

    def __init__(self, source: str) -> None:
        library, _, self._name = source.partition("/")
        self._source = source
        self._create = _LIBRARIES[library](source, self._name)

    def build(self, args: Mapping[str, str]) -> nn.Module:
        """Return a new network of `args["classes"]` classes. Raises UserError ModelError for an argument."""
        given = {name: value for name, value in args.items() if name != "classes"}
        for name in sorted(given):
            _require_allowed(name, given[name])
        keywords = {name: typed_argument(value) for name, value in given.items()}
        try:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):
                network: nn.Module = self._create(**{_CLASSES: int(args["classes"])} | keywords)
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0][:200]
            fix = f"check spec.model.args against the arguments of {self._source}"
            raise model_error("name", self._source, f"cannot be built: {line}", fix) from error
        if getattr(network, "aux_logits", False):
            fix = 'add {name: aux_logits, value: "false"} to spec.model.args'
            raise model_error("name", self._source, "has auxiliary outputs, which no loss here takes", fix)
        return network


def typed_argument(text: str) -> Any:
    """Return the value of an argument: a number, flag, null or list as JSON writes it, else the string."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _require_allowed(name: str, value: str) -> None:
    if name in _WEIGHTS:
        fix = "remove it: networks of libraries begin with random weights, by spec.training.seed"
        raise model_error(f"args.{name}", value, "would fetch weights that no digest names", fix)
    if name in _OUTPUTS:
        raise model_error(f"args.{name}", value, "changes what the network returns", "remove it")
    if name == _CLASSES:
        raise model_error(f"args.{name}", value, "is the number of classes of the dataset", "remove it")


def _torchvision(source: str, name: str) -> Any:
    models = importlib.import_module("torchvision.models")
    _require_known(source, name, models.list_models(module=models))

    def create(**keywords: Any) -> Any:
        return models.get_model(name, weights=None, **keywords)

    return create


def _timm(source: str, name: str) -> Any:
    timm = importlib.import_module("timm")
    _require_known(source, name, timm.list_models())

    def create(**keywords: Any) -> Any:
        return timm.create_model(name, pretrained=False, **keywords)

    return create


_LIBRARIES: Final = {"torchvision": _torchvision, "timm": _timm}


def _require_known(source: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name in names:
        return
    library = library_of(source)
    close = [f"{library}/{each}" for each in get_close_matches(name, names, n=3)]
    listing = "torchvision.models.list_models()" if library == "torchvision" else "timm.list_models()"
    fix = f"did you mean {' or '.join(close)}?" if close else f"write one of {listing} as spec.model.name"
    raise model_error("name", source, f"{library} has no classification network {name}", fix)
