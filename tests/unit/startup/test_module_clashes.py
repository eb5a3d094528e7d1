"""A file of the user's that would be imported in place of a needed module is found, and nothing else is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from seedbed.startup.module_clashes import find_clash, hidden_modules, needed_modules

ELSEWHERE = [each for each in sys.path if each]


@pytest.mark.parametrize(
    "name",
    [
        "torch", "numpy", "ray", "PIL", "yaml", "click", "pydantic", "pyarrow", "pandas", "fsspec", "rich",
        "safetensors", "simplejpeg", "jinja2", "requests", "packaging", "filelock", "attr", "typing_extensions",
        "seedbed", "seedbed_api", "json", "random", "types", "socket", "queue",
    ],
)  # fmt: skip
def test_modules_that_are_needed_are_known(name):
    assert hidden_modules([name], searched=ELSEWHERE) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "models",
        "train",
        "data",
        "net",
        "utils",
        "tests",
        "setup",
        "docs",
        "examples",
        "sklearn",
        "hypothesis",
    ],
)
def test_modules_that_nothing_of_ours_needs_are_free(name):
    assert hidden_modules([name], searched=ELSEWHERE) == []


def test_what_is_not_installed_hides_nothing(tmp_path):
    assert "torch" in needed_modules()
    assert hidden_modules(["torch"], searched=[str(tmp_path)]) == []


def filled(folder: Path, *files: str) -> str:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return str(folder)


@pytest.mark.parametrize(
    ("files", "clash"),
    [
        pytest.param(["yaml.py", "model.py"], "yaml.py", id="a module"),
        pytest.param(["ray/__init__.py"], "ray", id="a package"),
        pytest.param(["signal.py"], "signal.py", id="a module of Python's own"),
        pytest.param(["numpy.cpython-311-x86_64-linux-gnu.so"], "numpy.cpython-311-x86_64-linux-gnu.so", id="native code"),
        pytest.param(["ray/notes.txt", "torch/weights.bin"], None, id="folders of data"),
        pytest.param(["yaml.txt", "PIL.md", "torch"], None, id="files that are no modules"),
        pytest.param(["model.py", "nets/__init__.py"], None, id="modules of the user"),
        pytest.param([], None, id="an empty folder"),
        pytest.param(["yaml/__init__.py", "PyYAML-6.0.dist-info/RECORD", "PyYAML-6.0.dist-info/METADATA"], None, id="an installed package"),
        pytest.param(["yaml.py", "other-1.dist-info/RECORD", "other-1.dist-info/METADATA"], "yaml.py", id="a module beside an installed package"),
    ],
)  # fmt: skip
def test_what_clashes_in_a_folder(tmp_path, files, clash):
    folder = filled(tmp_path, *files)
    for record in tmp_path.glob("PyYAML*/RECORD"):
        record.write_text("yaml/__init__.py,,\n")
    found = find_clash(folder, searched=ELSEWHERE)
    assert found == (clash and f"{folder}/{clash}")


def test_a_folder_that_is_not_there_clashes_with_nothing(tmp_path):
    assert find_clash(str(tmp_path / "nowhere"), searched=ELSEWHERE) is None
