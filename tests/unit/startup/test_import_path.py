"""The command imports its own modules wherever it is typed; what it cannot import is one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.startup.import_path import extend_import_path

ROOT = Path(__file__).parents[3]
SOURCES = os.pathsep.join(str(ROOT / part) for part in ("workloads", "crds"))
HIDING = "raise SystemExit('hidden by ' + __file__)"


def typed(folder: Path, *words: str, path: str = SOURCES, **environ: str) -> subprocess.CompletedProcess[str]:
    """Type a command in a folder."""
    bare = {k: v for k, v in os.environ.items() if k not in {"PYTHONHASHSEED", "PYTHONSAFEPATH"}}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=bare | {"PYTHONPATH": path} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of a user who names files as modules are named."""
    for name in ("PIL", "yaml", "torch", "click", "pydantic", "random", "email", "socket", "seedbed_api"):
        (tmp_path / f"{name}.py").write_text(HIDING)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/__init__.py").write_text(HIDING)
    return tmp_path


@pytest.mark.slow
def test_python_m_finds_its_own_modules_before_those_of_the_working_folder(folder):
    done = typed(folder, "-m", "seedbed.cli", "run", "-f", "/dev/null")
    assert done.returncode == 2
    assert done.stderr.startswith("error: InvalidSpec: /dev/null: holds no document"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PIL", "yaml", "click", "pydantic", "random", "email", "operator", "types"])
def test_a_folder_of_pythonpath_that_hides_a_module_is_one_line(tmp_path, name):
    hiding = tmp_path / "mine"
    hiding.mkdir()
    (hiding / f"{name}.py").write_text(HIDING)
    script = tmp_path / "seedbed"
    script.write_text("from seedbed.cli import main\nmain()\n")
    done = typed(tmp_path, str(script), "run", "--help", path=f"mine{os.pathsep}{SOURCES}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == (
        f"error: InvalidOption: PYTHONPATH: {hiding}/{name}.py would hide the module {name}, which seedbed needs "
        f"(got 'mine{os.pathsep}{SOURCES}'); rename it, or leave {hiding} out of PYTHONPATH\n"
    )


@pytest.mark.slow
def test_a_folder_of_pythonpath_with_other_modules_is_used(tmp_path):
    (tmp_path / "model.py").write_text("")
    script = tmp_path / "seedbed"
    script.write_text("from seedbed.cli import main\nmain()\n")
    assert (
        typed(tmp_path, str(script), "run", "--help", path=f"{tmp_path}{os.pathsep}{SOURCES}").returncode == 0
    )


@pytest.mark.slow
def test_processes_that_the_command_starts_do_not_look_in_the_working_folder_first(tmp_path):
    program = (
        "import sys; sys.argv[1:] = ['--version']\n"
        "from seedbed.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "import subprocess; subprocess.run([sys.executable, '-c', 'import sys; print(sys.path[0])'])"
    )
    done = typed(tmp_path, "-c", program)
    assert done.stdout.splitlines()[-1] not in {"", str(tmp_path)}


def test_a_worker_looks_where_the_driver_does_after_its_own_places():
    path = ["/own", "/both"]
    extend_import_path(["/both", "/of the driver", "/own"], path=path)
    assert path == ["/own", "/both", "/of the driver"]
