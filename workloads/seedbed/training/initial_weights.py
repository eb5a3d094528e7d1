"""Weights to start from: read them by digest, give them the names of the model, and copy them in.

Every worker reads them itself, and so does the driver before any worker starts. What does not fit is an error
with the name of the tensor: nothing keeps its random values unless the recipe says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.models.name_patterns import matches, unused_patterns
from seedbed.runs.model_files import WEIGHTS
from seedbed.storage import (
    DamagedObject,
    OversizedObject,
    object_limits,
    open_storage,
    printable_url,
    without_links,
)
from seedbed.training.weight_files import StoredTensor, UnreadableWeights, digest_of_weights, parse_weights
from seedbed_api.errors import UserError, refusal

if TYPE_CHECKING:
    import torch
    from torch import nn

FIELD = "spec.model.weights"
_RETRY_SECONDS = 60.0
"""How long a store that does not answer is asked again: as for the dataset."""
_SHOWN = 3
"""Names that an error shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsSource:
    """Where the first weights are, and how they are named in the model; picklable."""

    uri: str
    """URL of the file; credentials are not printed."""
    secret: Path | None = None
    digest: str | None = None
    """That the tensors must have."""
    exclude: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    """Patterns (match, to)."""
    strict: bool = True
    run: str | None = None
    """Run whose model the file is."""
    field: str = f"{FIELD}.uri"
    """Field that names the place."""


def fetch_weights(source: WeightsSource) -> tuple[dict[str, StoredTensor], str]:
    """Return the tensors of the file and their digest. Raises UserError, also for another digest."""
    try:
        tensors = parse_weights(_read(source))
    except UnreadableWeights as error:
        raise _place_error(source, error.problem, error.fix) from error
    digest = digest_of_weights(tensors)
    if source.digest not in (None, digest):
        problem = f"the tensors at {printable_url(source.uri)} have digest {digest}"
        fix = "pin that digest, or restore the file"
        raise UserError("ModelError", refusal(f"{FIELD}.digest", source.digest, problem, fix))
    return tensors, digest


def start_from(network: nn.Module, source: WeightsSource) -> None:
    """Copy the first weights into a network, by name. Raises UserError where they do not fit."""
    from seedbed.models.state_dict import stored_tensors

    found, _ = fetch_weights(source)
    named = stored_tensors(network)
    fitting = _fitting(named, _renamed(found, named, source), source)
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    for name, tensor in fitting.items():
        _require_numbers(name, tensor, finite=name in parameters)
        named[name].detach().copy_(tensor)


def _read(source: WeightsSource) -> bytes:
    web = source.uri.lower().startswith(("http://", "https://"))  # a name in a store may hold a ?
    base, mark, query = source.uri.partition("?") if web else (source.uri, "", "")
    parent, slash, name = base.rpartition("/")
    folder = f"{parent or ('/' if slash else '.')}{mark}{query}"
    if not name or parent.endswith(":/") or Path(source.uri).is_dir():
        raise _place_error(source, "names a folder", f"name the file in it, for example {WEIGHTS}")
    try:
        storage = open_storage(folder, secret=source.secret, retry_seconds=_RETRY_SECONDS)
        storage = without_links(storage) if source.run else storage
        return storage.read(name, object_limits.WEIGHTS)
    except FileNotFoundError as error:
        raise _place_error(source, "there is no such file", "check the path") from error
    except DamagedObject as error:
        raise _place_error(source, "does not match the checksum in its store", "upload it again") from error
    except OversizedObject as error:
        raise _place_error(source, error.problem, "keep only the tensors of the model in it") from error
    except UserError as error:
        if not error.message.startswith("uri: "):
            raise
        raise UserError(error.reason, f"{source.field}{error.message.removeprefix('uri')}") from error


def _place_error(source: WeightsSource, problem: str, fix: str) -> UserError:
    return UserError("ModelError", refusal(source.field, printable_url(source.uri), problem, fix))


def _renamed(
    found: Mapping[str, StoredTensor], named: Mapping[str, torch.Tensor], source: WeightsSource
) -> dict[str, StoredTensor]:
    """Return the tensors by their names in the model, without the excluded ones."""
    unused = dict(source.rename)
    origin: dict[str, str] = {}
    for name in found:
        pattern, new = _new_name(name, source.rename)
        unused.pop(pattern, None)
        if new in origin:
            problem = f"{origin[new]} and {name} would both be named {new}"
            raise UserError("ModelError", refusal(f"{FIELD}.rename", new, problem, "rename one of them"))
        origin[new] = name
    _refuse_unused("rename", list(unused), list(found))
    names = [*origin, *named]
    _refuse_unused("exclude", unused_patterns(names, source.exclude), list(named))
    return {new: found[old] for new, old in origin.items() if not matches(new, source.exclude)}


def _refuse_unused(field: str, patterns: Sequence[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        where = "the file" if field == "rename" else "the model and the file"
        fix = f"names are for example {', '.join([*names[:2], *names[-2:]])}"
        problem = f"matches no tensor of {where}"
        raise UserError("ModelError", refusal(f"{FIELD}.{field}", pattern, problem, fix))


def _new_name(name: str, rename: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Return the pattern that renames a tensor, and its new name."""
    for match, to in rename:
        head, star, tail = match.partition("*")
        fits = name.startswith(head) and name.endswith(tail) and len(name) >= len(head) + len(tail)
        if name == match or (star and fits):
            return match, to.replace("*", name[len(head) : len(name) - len(tail)])
    return "", name


def _fitting(
    named: Mapping[str, torch.Tensor], found: Mapping[str, StoredTensor], source: WeightsSource
) -> dict[str, torch.Tensor]:
    """Return the tensors to copy, in the types of the model. Raises UserError for what does not fit."""
    given = {name: tensor for name, tensor in found.items() if name in named}
    lacking = [name for name in _lacking(named, given) if not matches(name, source.exclude)]
    unknown = [name for name in found if name not in named]
    if not found:
        fix = "leave some tensors of the file, or remove weights"
        shown = ", ".join(source.exclude)
        raise UserError("ModelError", refusal(f"{FIELD}.exclude", shown, "leaves no tensor of the file", fix))
    if not given or (source.strict and (lacking or unknown)):
        raise _other_names(named, found, lacking, unknown)
    for name, tensor in given.items():
        _check_shape(name, tensor, named[name], source)
    fitting = {name: _converted(name, given[name].to_torch(), named[name]) for name in named if name in given}
    _refuse_unequal_names(named, fitting)
    return fitting


def _refuse_unequal_names(named: Mapping[str, torch.Tensor], fitting: Mapping[str, torch.Tensor]) -> None:
    """Refuse two values for one tensor of the model, which has two names where weights are tied."""
    from seedbed.models.state_dict import same_bits

    first: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, tensor in fitting.items():
        own = named[name]
        other = first.setdefault((own.data_ptr(), tuple(own.shape)), name)
        if own.numel() and other != name and not same_bits(fitting[other], tensor):
            problem = f"{other} and {name} are one tensor of the model and differ in the file"
            fix = "save one value, or exclude one of them"
            raise UserError("ModelError", refusal(FIELD, name, problem, fix))


def _lacking(named: Mapping[str, torch.Tensor], given: Mapping[str, StoredTensor]) -> list[str]:
    """Return the tensors of the model that the file lacks.

    One of a shared pair is enough, and older files have no count of batches, which starts at zero.
    """
    held = {named[name].data_ptr() for name in given if named[name].numel()}
    absent = (name for name in named if name not in given and not name.endswith("num_batches_tracked"))
    return [name for name in absent if named[name].data_ptr() not in held]


def _other_names(
    named: Mapping[str, torch.Tensor],
    found: Mapping[str, StoredTensor],
    lacking: Sequence[str],
    unknown: Sequence[str],
) -> UserError:
    missing = f"the file lacks {_listed(lacking)} of the model" if lacking else ""
    others = f"the model has no {_listed(unknown)}, which the file has" if unknown else ""
    problem = "; ".join(filter(None, (missing, others)))
    hint = _rename_hint(named, found)
    fix = hint or "name the network that the file is of, exclude or rename these, or set strict: false"
    shown = f"{len(found)} tensors for {len(named)}"
    return UserError("ModelError", refusal(FIELD, shown, problem, fix))


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _rename_hint(named: Mapping[str, object], found: Mapping[str, object]) -> str | None:
    """Return the fix where all names differ by a prefix, as those of a wrapped network do."""
    for longer, shorter, match, to in ((found, named, "{}*", "*"), (named, found, "*", "{}*")):
        first = next((name for name in shorter if "." in name), None)
        for name in longer:
            prefix = name.removesuffix(first or name)
            if first and prefix.endswith(".") and name.endswith(first):
                entry = f"match: '{match.format(prefix)}', to: '{to.format(prefix)}'"
                return f"write rename: [{{{entry}}}]"
    return None


def _check_shape(name: str, given: StoredTensor, own: torch.Tensor, source: WeightsSource) -> None:
    if given.shape == tuple(own.shape):
        return
    layer, _, _ = name.rpartition(".")
    patterns = ", ".join(f'"{each}"' for each in (*source.exclude, f"{layer}.*" if layer else name))
    problem = f"{name} has shape {list(given.shape)} in the file and {list(own.shape)} in the model"
    fix = f"start that layer anew with exclude: [{patterns}], or use the network of the file"
    raise UserError("ModelError", refusal(FIELD, name, problem, fix))


def _converted(name: str, given: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the type of the model, where that changes no value."""
    if given.dtype == own.dtype:
        return given
    types = f"{name} is {_type(given)} in the file and {_type(own)} in the model"
    converted = given.to(own.dtype)
    if given.is_floating_point() != own.is_floating_point():
        raise UserError("ModelError", refusal(FIELD, name, types, f"save it as {_type(own)}"))
    same = (converted.to(given.dtype) == given) | given.isnan()
    if not given.is_floating_point() and given.numel() and not _in_range(given, own.dtype):
        same[...] = False  # integers wrap there and back
    if not bool(same.all()):
        problem = f"{types}, which does not hold all values"
        raise UserError(
            "ModelError", refusal(FIELD, name, problem, f"round it to {_type(own)} and save that")
        )
    return converted


def _in_range(given: torch.Tensor, dtype: torch.dtype) -> bool:
    import torch  # as above

    limits = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    values = given.numpy()
    return limits[0] <= int(values.min()) and int(values.max()) <= limits[1]


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _require_numbers(name: str, tensor: torch.Tensor, *, finite: bool) -> None:
    """Refuse NaN, and in parameters infinity: masks may be infinite."""
    if not tensor.is_floating_point():
        return
    bad = ~tensor.isfinite() if finite else tensor.isnan()
    if bool(bad.any()):
        problem = f"{name} holds {int(bad.sum())} values that are not {'finite' if finite else 'a number'}"
        fix = "use an intact file, or leave that layer out with exclude"
        raise UserError("ModelError", refusal(FIELD, name, problem, fix))
