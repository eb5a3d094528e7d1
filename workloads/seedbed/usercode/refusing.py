"""How a mistake in user code is told: one line with its place; the traceback stays as cause."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed_api.errors import SeedbedError, UserError, refusal

_NOT_THE_CODE = frozenset({"OutOfMemoryError", "AcceleratorError"})
"""Of torch, which is not imported here: the device failed, not the network."""


def refused(member: str, value: object, problem: str, fix: str) -> UserError:
    """Return a ModelError about `spec.model.<member>`."""
    return UserError("ModelError", refusal(f"spec.model.{member}", value, problem, fix))


@contextmanager
def blaming(entrypoint: str, action: str, *, root: Path | None) -> Iterator[None]:
    """Turn what user code raises into a ModelError that names file and line below `root`.

    Failures of the device and out of memory pass. The original stays as `__cause__`, for the log.
    """
    try:
        yield
    except (SeedbedError, MemoryError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        if type(error).__name__ in _NOT_THE_CODE:
            raise
        problem = f"{action} raised {_place(error, root)}{type(error).__name__}: {one_line(error)}"
        raise refused("entrypoint", entrypoint, problem, "mend the model's code") from error


def one_line(error: BaseException) -> str:
    """Return the first line of an exception's text, at most 300 characters."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0][:300]


def _place(error: BaseException, root: Path | None) -> str:
    """Return `at FILE:LINE ` of the innermost frame in user code, nothing if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"at {_shown(error.filename, root)}:{error.lineno} "
    if root is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    return f"at {_shown(own[-1].filename, root)}:{own[-1].lineno} " if own else ""


def _shown(filename: str, root: Path | None) -> str:
    path = Path(filename)
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else path.name
