"""The user's own metrics of a run that has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from seedbed.driver.resolve_run import ResolvedRun, model_of
from seedbed.driver.run_result import Measure
from seedbed_api.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def user_metrics_of(run: ResolvedRun, *, notice: Callable[[str], None]) -> Measure | None:
    """Return the metrics of the user's code, None without such code.

    They were tried before the training; where a matrix brings them down all the same, they are left out and
    the user is told: the model that was trained is worth more.
    """
    source = model_of(run)
    if source.entrypoint is None:
        return None
    from seedbed.usercode.custom_metrics import measure
    from seedbed.usercode.entrypoint_loader import load_entrypoint

    user = load_entrypoint(source.entrypoint, source.args, source.code)

    def measured(confusion_kk: npt.NDArray[np.int64]) -> Mapping[str, float]:
        try:
            return measure(user, confusion_kk)
        except UserError as error:
            notice(f"your metrics are left out: {error.message}")
            return {}

    return measured
