"""The stored result of a run, where it may be believed; what may not is set aside and computed again."""

from __future__ import annotations

from collections.abc import Callable

from seedbed.driver.resolve_run import ResolvedRun
from seedbed.driver.result_check import DisagreementError, require_outcome, require_result
from seedbed.runs.result_file import Result, read_result
from seedbed.runs.run_folder import RECEIPT, RESULT
from seedbed.runs.training_result import RESULT_FILE, TrainingResult, read_training_result
from seedbed_api.errors import InfrastructureError

Notice = Callable[[str], None]

_AGAIN = "it is not used and is computed again"


def stored_result(run: ResolvedRun, notice: Notice) -> Result | None:
    """Return the result of a complete run; None where there is none, or where it does not belong to the run.

    Objects that disagree are moved to the folder `refused` of the run, with a notice that names the first.
    """
    try:
        result = read_result(run.folder)
        if result is not None:
            require_result(run, result)
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        _refuse(run, (RESULT,), error.message, notice)
        return None
    except DisagreementError as error:
        _refuse(run, (RESULT, RECEIPT, RESULT_FILE, *error.paths), error.message(run.folder), notice)
        return None
    return result


def stored_outcome(run: ResolvedRun, notice: Notice) -> TrainingResult | None:
    """Return how the training ended; None where it has not, or where this does not belong to the run."""
    try:
        outcome = read_training_result(run.folder)
        if outcome is not None:
            require_outcome(run, outcome)
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        _refuse(run, (RESULT_FILE,), error.message, notice)
        return None
    except DisagreementError as error:
        _refuse(run, (RESULT_FILE, *error.paths), error.message(run.folder), notice)
        return None
    return outcome


def _refuse(run: ResolvedRun, paths: tuple[str, ...], message: str, notice: Notice) -> None:
    """Say what is not used, and set it aside, unless it lies in a folder of somebody else."""
    notice(f"{message}; {_AGAIN}")
    for path in () if run.is_borrowed else dict.fromkeys(paths):
        run.folder.set_aside(path)
