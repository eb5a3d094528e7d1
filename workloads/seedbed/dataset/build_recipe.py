"""The recipe of a build from its options, and whether two recipes make the same rows."""

from __future__ import annotations

from dataclasses import replace

import PIL

from seedbed.dataset.file_format import BuildRecipe
from seedbed.dataset.split_assignment import parse_split
from seedbed.images.conversions import colour_of
from seedbed_api.errors import UserError, refusal


def make_recipe(
    *,
    split: str,
    image_size: int | None,
    encoding: str,
    group_by: str | None,
    conversions: dict[str, str | None],
) -> BuildRecipe:
    """Return the recipe of options. `UserError("InvalidOption")` for some that do not go together."""
    if encoding == "jpeg" and image_size is None:
        fix = "add --image-size N, or leave --format away"
        raise UserError(
            "InvalidOption", refusal("--format", "jpeg", "only resized images are encoded as JPEG", fix)
        )
    alpha = conversions.get("alpha")
    if alpha is not None and colour_of(alpha) is None:
        fix = "write white, black or #rrggbb, for example #808080"
        raise UserError("InvalidOption", refusal("--alpha", alpha, "is no colour of a background", fix))
    asked = {name: value for name, value in conversions.items() if value is not None}
    return BuildRecipe(
        split=parse_split(split),
        image_size=image_size,
        encoding=encoding,
        group_by=group_by,
        pillow=PIL.__version__,
        conversions=asked or None,
    )


def same_recipe(old: BuildRecipe, new: BuildRecipe) -> bool:
    """Return whether two recipes have equal options; the version of Pillow is none."""
    return replace(old, pillow="") == replace(new, pillow="")
