"""What a first build of a dataset must have to be trained on."""

from __future__ import annotations

from seedbed.dataset.deduplication import Deduplicator
from seedbed_api.errors import UserError, refusal


def require_trainable(
    deduplicator: Deduplicator, classes: tuple[str, ...], source: str, *, task: str | None
) -> None:
    """Raise `UserError` where a build has too few images or classes, or nothing to train on."""
    images = deduplicator.report.images
    if images < 2:
        left = "one image is" if images else "no image is"
        raise UserError(
            "TooFewImages",
            refusal("SOURCE", source, f"only {left} left".replace("only no", "no"), "add images"),
        )
    if not classes:
        fix = "write labels into the column that --target names"
        raise UserError("TooFewClasses", refusal("SOURCE", source, "no row has a label", fix))
    if task is None and len(classes) < 2:
        problem = f"there is one class only, {classes[0]!r}"
        raise UserError(
            "TooFewClasses",
            refusal("SOURCE", source, problem, "give the folder whose folders are the classes, two or more"),
        )
    if deduplicator.rows("train").num_rows == 0:
        if deduplicator.report.duplicates.counts["same-bytes"]:
            problem = "each image of train also is in validation or test, and is not used twice"
            fix = "remove one of the copies"
            raise UserError("EmptySplit", refusal("SOURCE", source, problem, fix))
        raise UserError(
            "EmptySplit",
            refusal("--split", source, "no image fell into train", "give train a larger fraction"),
        )
