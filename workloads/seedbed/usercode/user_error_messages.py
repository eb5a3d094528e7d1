"""Messages for errors in user code: one line with file, line and a fix; the traceback remains as cause."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import seedbed
from seedbed_api.errors import SeedbedError, UserError, refusal

Hint: TypeAlias = Callable[[Exception], str | None]
"""Returns a fix for an exception; None where none was found."""
_NOT_THE_CODE = frozenset({"OutOfMemoryError", "AcceleratorError"})
"""Exceptions of torch, which is not imported here, for failures of the device."""
_NO_MEMORY = ("can't allocate memory", "out of memory")
_OURS = Path(seedbed.__file__).parent
_CALLER = _OURS / "arithmetic" / "leaf_gradient.py"
"""Where networks and losses are called while training and evaluating."""
_OTHER_NETWORK = "choose another network, or other spec.model.args"
_SIGNATURES = {"build": "build(args)", "loss": "loss(model, batch)", "metrics": "metrics(confusion)"}
_FIXES = {
    "backward through the graph a second time": "return the loss and leave backward() to Seedbed",
    "no NVIDIA driver": "build on the CPU: Seedbed moves the network to the device",
    "not compiled with CUDA": "build on the CPU: Seedbed moves the network to the device",
    "process group has not been initialized": "return the network itself: Seedbed shares out the batches",
}
"""Text of a torch error -> fix."""


def model_error(member: str, value: object, problem: str, fix: str) -> UserError:
    """Return a ModelError about `spec.model.<member>`."""
    return UserError("ModelError", refusal(f"spec.model.{member}", value, problem, fix))


def network_error(source: str, problem: str, fix: str) -> UserError:
    """Return a ModelError about a network: an entrypoint of user code, or `library/name`.

    A fix of the code becomes the choice of another network where the code is a library's; one of the manifest
    stays.
    """
    if "/" not in source:
        return model_error("entrypoint", source, problem, fix)
    return model_error("name", source, problem, fix if "spec." in fix else _OTHER_NETWORK)


@contextmanager
def attribute_user_errors(
    entrypoint: str,
    action: str,
    *,
    root: Path | None,
    files: frozenset[str] = frozenset(),
    hint: Hint | None = None,
) -> Iterator[None]:
    """Convert errors of user code into a ModelError that names the line of the user, and that of a library.

    The user's lines are those of `files` below `root`; `hint` may return a fix. Failures of the device, out
    of memory and Ctrl-C pass. The original remains as `__cause__`, for the log.
    """
    try:
        yield
    except (SeedbedError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error) or type(error).__name__ in _NOT_THE_CODE:
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if is_own(frame.filename, root, files)]
        place = _own_place(error, own, root)
        problem = f"{action} raised {place}{describe_error(error)}{_library_place(frames, own)}"
        fix = hint(error) if hint is not None and isinstance(error, Exception) else None
        raise network_error(entrypoint, problem, fix or _fix(error, action, own)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception reports exhausted memory, of the machine or the device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in _text(error) for words in _NO_MEMORY)


def is_own(filename: str, root: Path | None, files: frozenset[str]) -> bool:
    """Say whether a file is one of the user's."""
    path = Path(filename)
    if root is None or not path.is_relative_to(root):
        return False
    return not files or path.relative_to(root).as_posix() in files


def is_of_network(error: BaseException) -> bool:
    """Say whether an exception was raised in a network that a leaf or an evaluation called."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [index for index, filename in enumerate(files) if _is_ours(filename)]
    return bool(ours) and ours[-1] < len(files) - 1 and Path(files[ours[-1]]) == _CALLER


def one_line(error: BaseException) -> str:
    """Return the first line of an exception's text, at most 300 characters."""
    return (_text(error).strip().splitlines() or ["no message"])[0].strip()[:300]


def describe_error(error: BaseException) -> str:
    """Return type and first line of an exception; without a text, the source line that raised it."""
    if _text(error).strip():
        return f"{type(error).__name__}: {one_line(error)}"
    last = traceback.extract_tb(error.__traceback__)[-1:]
    line = linecache.getline(last[0].filename, last[0].lineno or 0).strip()[:200] if last else ""
    return f"{type(error).__name__}: {line or 'no message'}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:
        return f"no message (its __str__ raised {type(second).__name__})"


def _own_place(error: BaseException, own: list[traceback.FrameSummary], root: Path | None) -> str:
    """Return `at FILE:LINE ` of the innermost frame in user code, nothing if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"at {_shown(error.filename, root)}:{error.lineno} "
    return f"at {_shown(own[-1].filename, root)}:{own[-1].lineno} " if own else ""


def _library_place(frames: traceback.StackSummary, own: list[traceback.FrameSummary]) -> str:
    """Return `, in FILE:LINE` of the library that raised, nothing where user code or ours did."""
    last = frames[-1] if frames else None
    if last is None or last in own or _is_ours(last.filename) or not Path(last.filename).is_file():
        return ""
    return f", in {_shown(last.filename, None)}:{last.lineno}"


def _fix(error: BaseException, action: str, own: list[traceback.FrameSummary]) -> str:
    for words, fix in _FIXES.items():
        if words in _text(error):
            return fix
    if action in _SIGNATURES and not own and isinstance(error, TypeError):
        return f"it is called as {_SIGNATURES[action]}"
    return "fix the model's code"


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(_OURS)


def _shown(filename: str, root: Path | None) -> str:
    """Return a path below the user's folder, or below the folder from which Python imports it."""
    path = Path(filename)
    tops = [Path(entry) for entry in ([str(root)] if root else []) + sys.path if entry]
    below = [path.relative_to(top).as_posix() for top in tops if path.is_relative_to(top)]
    return min(below, key=len) if below else path.name
