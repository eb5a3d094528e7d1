"""Workers of Ray find Python in a folder of any name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.startup.ray_environment import worker_python


@pytest.mark.parametrize("name", ["a b", "it's", 'a "b"', "a$HOME", "a;b", "a(b)", "a&b", "a*"])
def test_a_shell_finds_python_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    environment = worker_python(str(folder / "python"))
    assert environment is not None
    line = f"exec {environment['py_executable']} -c 'print(1)'"
    assert subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout == "1\n"


def test_an_ordinary_path_needs_no_environment_of_its_own() -> None:
    assert worker_python("/usr/bin/python3") is None
