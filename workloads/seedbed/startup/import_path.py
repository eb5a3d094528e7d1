"""Import path of the command: installed modules are found before modules in the working folder.

Ray's workers and spawned processes use the same path, so that they import the same modules as the driver.
"""

from __future__ import annotations

import os
import sys

from seedbed.startup.module_clashes import find_clash

TYPE_CHECKING = False  # as of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

_COMMANDS = frozenset({"-m", "seedbed"})
"""`sys.argv[0]` of `python -m seedbed.cli` during its import, and of `seedbed`."""
_USER_ERROR = 2


def search_own_modules_first() -> None:
    """Search the working folder last, not first as `python -m` does, and exit if PYTHONPATH hides a module.

    Does nothing in programs other than the command. Call it before the import of third-party modules.
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
    """Return a message about a file in a folder of PYTHONPATH that hides a needed module, or None."""
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
    """Return the folders that Python searches without PYTHONPATH; an inherited `sys.path` has them too."""
    library = os.path.dirname(os.__file__)
    site = sys.modules.get("site")
    packages = [*site.getsitepackages(), site.getusersitepackages()] if site else []
    return {os.path.realpath(each) for each in (library, os.path.join(library, "lib-dynload"), *packages)}


def exclude_working_folder() -> None:
    """Stop child Pythons from searching their working folder, or that of their script, first."""
    os.environ["PYTHONSAFEPATH"] = "1"


def extend_import_path(driver: Sequence[str], *, path: MutableSequence[str] | None = None) -> None:
    """Append the driver's import path to that of this process."""
    path = sys.path if path is None else path
    path.extend(each for each in driver if each not in path)
