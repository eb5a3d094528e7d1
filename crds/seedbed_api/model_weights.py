"""The block `model.weights`: which tensors the model starts from, instead of random ones."""

from __future__ import annotations

from typing import Annotated, ClassVar

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.scalar_types import Digest, Flag, Matches, ParameterPattern, Uri
from seedbed_api.uri_validation import URI_RULES, where_present

RunPrefix = Annotated[
    str,
    Matches(
        r"^(sha256:)?[0-9a-f]{8,64}$",
        71,
        "must be a run identity, or its first 8 or more digits",
        "copy what `seedbed runs list` prints",
    ),
]
NamePattern = Annotated[
    str,
    Matches(
        r"^[A-Za-z0-9_.]*[A-Za-z0-9_.*][A-Za-z0-9_.]*$",
        253,
        "must be a name of tensors with at most one *: letters, digits, dots and underscores",
        "write for example module.*",
    ),
]


class Rename(Block):
    """Another name for tensors of the file."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="to",
            cel="self.match.contains('*') == self.to.contains('*')",
            holds=lambda rename: ("*" in rename.match) == ("*" in rename.to),
            problem="must have a * where match has one, and none where it has none",
            fix="write for example match: module.* with to: '*'",
        ),
    )

    match: NamePattern
    """Names in the file, with at most one *; the first entry that matches a name renames it."""
    to: NamePattern
    """Name in the model; its * stands for what that of match stands for."""


class Weights(Block):
    """Tensors that the model starts from: their digest is part of the recipe, their location is not."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="",
            cel="has(self.uri) != has(self.run)",
            holds=lambda weights: (weights.uri is None) != (weights.run is None),
            problem="must have exactly one of uri and run",
            fix="keep one of them",
        ),
        *map(where_present, URI_RULES),
    )

    uri: Uri | None = None
    """File of the tensors: safetensors, or a torch file of tensors alone; any fsspec URL,
    pvc://claim/path, or for seedbed run a local path. Read with the credentials of the dataset. It may
    change while the job is suspended; set exactly one of uri and run."""
    run: RunPrefix | None = None
    """Run of the output store whose model is the start, by its identity or the first digits of it; whose
    runs count says output.trust. It may change while the job is suspended."""
    digest: Digest | None = None
    """Digest that the tensors must have, as the receipt of a run has it. Default: the digest that the
    first attempt finds, which is then part of the run identity."""
    exclude: Annotated[tuple[ParameterPattern, ...], BoundedList(most=64, unique=True, ordered=False)] = ()
    """Patterns of tensors that are not taken over, by names as in the model, such as fc.* for a head of
    another size."""
    rename: Annotated[tuple[Rename, ...], BoundedList(most=64, key="match")] = ()
    """Names in the model of tensors with other names in the file."""
    strict: Flag = True
    """Reject a file that lacks a tensor of the model, or has others, apart from those of exclude."""
