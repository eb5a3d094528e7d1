"""Custom metrics of the user: validation of the result of `metrics(confusion)`, probe before training."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from seedbed.usercode.user_error_messages import network_error
from seedbed_api.metric_values import REPORTED, SINGLE_LABEL

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from seedbed.usercode.entrypoint_loader import UserModel

MOST_METRICS = 12
"""Per split, so that the metrics of validation and test fit into a status."""
_OURS = frozenset(REPORTED[SINGLE_LABEL])
_NAME = re.compile(r"[a-z0-9]([-a-z0-9_.]{0,98}[a-z0-9])?")


def measure(user: UserModel, confusion_kk: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the user's metrics of a confusion matrix (true class, predicted class); {} without `metrics`.

    Raises UserError ModelError for errors in the code, and for names and values that do not fit a status.
    """
    figures = user.metrics(confusion_kk)
    if len(figures) > MOST_METRICS:
        raise _metric_error(user, f"metrics returned {len(figures)} values", f"return at most {MOST_METRICS}")
    for name, value in figures.items():
        if name in _OURS:
            raise _metric_error(user, f"metrics returned {name}, which Seedbed measures itself", "rename it")
        if _NAME.fullmatch(name) is None:
            fix = "name metrics in lower case letters, digits, -, _ and ., for example balanced-accuracy"
            raise _metric_error(user, f"metrics returned the name {name[:60]!r}", fix)
        if not math.isfinite(value):
            fix = "return finite numbers, also where a class is never predicted"
            raise _metric_error(user, f"metrics returned {name} = {value}", fix)
    return figures


def probe_metrics(user: UserModel, *, classes: int) -> None:
    """Call the metrics on generated matrices, each twice. Raises UserError ModelError."""
    for confusion_kk in _probe_matrices(classes):
        once, twice = (measure(user, confusion_kk.copy()) for _ in range(2))
        if once != twice:
            name = next(iter(sorted(once.keys() ^ twice.keys()))) if once.keys() != twice.keys() else ""
            name = name or next(name for name in once if once[name] != twice[name])
            fix = "compute metrics from the confusion matrix alone"
            raise _metric_error(user, f"not deterministic: metric {name} differs when asked twice", fix)


def _probe_matrices(classes: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield typical matrices: all correct, evenly wrong, and one class predicted always."""
    import numpy as np

    yield 3 * np.eye(classes, dtype=np.int64)
    yield np.ones((classes, classes), dtype=np.int64)
    one_column = np.zeros((classes, classes), dtype=np.int64)
    one_column[:, 0] = 2
    yield one_column


def _metric_error(user: UserModel, problem: str, fix: str) -> Exception:
    return network_error(user.entrypoint, problem, fix)
