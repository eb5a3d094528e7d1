"""The temporary folder of a build; where it cannot be written, one line names it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from seedbed.storage.storage_errors import Fault, fault_of, local_error
from seedbed_api.errors import SeedbedError, UserError, refusal

_THE_USERS = (Fault.DENIED, Fault.UNUSABLE, Fault.FULL)


@contextmanager
def temporary_folder_errors() -> Iterator[None]:
    """Tell of failures of the temporary folder; those for lack of space or of rights are a `UserError`."""
    try:
        yield
    except OSError as error:
        raise _told(error) from error


def _told(error: OSError) -> SeedbedError:
    folder = os.environ.get("TMPDIR") or tempfile.tempdir or "/tmp"
    if fault_of(error) not in _THE_USERS:
        return local_error(error, shown=f"file://{folder}", writing=True)
    problem = f"the temporary folder: {os.strerror(error.errno or 0).lower()}"
    fix = "free space there, or let TMPDIR name another folder"
    return UserError("OutputUnwritable", refusal("TMPDIR", folder, problem, fix))
