"""Import path of the command: its own modules come before those of the working folder.

Ray's workers and spawned processes use the same path, so that they import what the driver imports.
"""

from __future__ import annotations

import os
import sys

from seedbed.startup.module_clashes import find_clash

TYPE_CHECKING = False  # as of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

_COMMANDS = frozenset({"-m", "seedbed"})
"""What `sys.argv` begins with in `python -m seedbed.cli`, as long as it is imported, and in `seedbed`."""
_USER_ERROR = 2


def search_own_modules_first() -> None:
    """Look last in the working folder, where `python -m` looks first, and refuse what PYTHONPATH hides.

    Does nothing in a program that is not the command. Call it before an import that is not of Python or ours.
    """
    program = os.path.basename(sys.argv[0]) if sys.argv else ""
    if program not in _COMMANDS:
        return
    if program == "-m" and not sys.flags.safe_path:
        sys.path.append(sys.path.pop(0))
    problem = python_path_clash()
    if problem is not None:
        sys.stderr.write(f"error: InvalidOption: {problem}\n")
        sys.exit(_USER_ERROR)


def python_path_clash() -> str | None:
    """Return the line on a file that a folder of PYTHONPATH has in place of a module that is needed."""
    named = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    folders = [os.path.abspath(each) for each in named.split(os.pathsep) if each]
    folders = [each for each in folders if os.path.realpath(each) not in _folders_of_python()]
    others = [each for each in sys.path if each not in folders]
    for folder in folders:
        clash = find_clash(folder, searched=others)
        if clash is not None:
            module = os.path.basename(clash).partition(".")[0]
            problem = f"{clash} would hide the module {module}, which seedbed needs"
            return f"PYTHONPATH: {problem} (got {named!r}); rename it, or leave {folder} out of PYTHONPATH"
    return None


def _folders_of_python() -> set[str]:
    """Return the folders that Python searches without PYTHONPATH; a passed-on `sys.path` holds them too."""
    library = os.path.dirname(os.__file__)
    site = sys.modules.get("site")
    packages = [*site.getsitepackages(), site.getusersitepackages()] if site else []
    return {os.path.realpath(each) for each in (library, os.path.join(library, "lib-dynload"), *packages)}


def exclude_working_folder() -> None:
    """Keep child Pythons from searching their working folder, or that of their script, first."""
    os.environ["PYTHONSAFEPATH"] = "1"


def extend_import_path(driver: Sequence[str], *, path: MutableSequence[str] | None = None) -> None:
    """Append the driver's import path to that of this process."""
    path = sys.path if path is None else path
    path.extend(each for each in driver if each not in path)
