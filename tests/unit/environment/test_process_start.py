"""A process that computes starts with the pins that are read at its start alone, or begins anew with them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from seedbed.environment.environment_pins import CPU_CLASSES, cpu_flags, pinned_variables
from seedbed.environment.process_start import restart_command

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, os, sys
from seedbed.environment.process_start import restart_if_unpinned
from seedbed_api.errors import UserError
try:
    restart_if_unpinned()
except UserError as error:
    sys.exit(error.message)
print(json.dumps({
    "hash": hash("a"), "randomised": sys.flags.hash_randomization, "arguments": sys.argv[1:], "pid": os.getpid(),
    "folder": os.getcwd(), "dev": sys.flags.dev_mode, "path": sys.path, "tunables": os.environ.get("GLIBC_TUNABLES"),
    "mask": os.environ.get("LD_HWCAP_MASK"), "begun": os.environ.get("SEEDBED_BEGUN_ANEW"),
    "utf8": os.environ.get("PYTHONIOENCODING"),
}))
"""
PINNED = 4644417185603328019 if sys.version_info[:2] == (3, 11) else None
"""hash("a") under PYTHONHASHSEED=0."""


def start(*words: str, environ: dict[str, str | None] | None = None, **more) -> subprocess.CompletedProcess:
    """Start Python with these words, without any pin but those of `environ`."""
    bare = {k: v for k, v in os.environ.items() if k not in {"PYTHONHASHSEED", "GLIBC_TUNABLES"}}
    path = {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("workloads", "crds"))}
    chosen = {k: v for k, v in (bare | path | (environ or {})).items() if v is not None}
    return subprocess.run(
        [sys.executable, *words], env=chosen, capture_output=True, text=True, timeout=60, check=False, **more
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


def told(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        pytest.param([], {}, id="no hash seed"),
        pytest.param([], {"PYTHONHASHSEED": "random"}, id="a random one"),
        pytest.param([], {"PYTHONHASHSEED": "7"}, id="another one"),
        pytest.param([], {"PYTHONHASHSEED": "0"}, id="the pin itself"),
        pytest.param(["-R"], {"PYTHONHASHSEED": "0"}, id="an option that overrules the pin"),
        pytest.param(["-E"], {"PYTHONHASHSEED": "0"}, id="an option that overlooks the environment"),
        pytest.param(["-I"], {"PYTHONHASHSEED": "0"}, id="an isolated Python"),
        pytest.param(["-sBR", "-Wignore"], {}, id="options in one word"),
        pytest.param(
            [], {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"}, id="another way to compute cosines"
        ),
        pytest.param([], {"LD_HWCAP_MASK": "0"}, id="other libraries"),
    ],
)
@pytest.mark.slow
def test_every_start_finds_the_pins_and_its_arguments(script, options, environ):
    check(script, [*options, "-X", "dev", str(script)], environ)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-m", "program"], id="a module"),
        pytest.param(["-c", PROGRAM], id="a command"),
        pytest.param(["."], id="a folder"),
        pytest.param(["./program.pyz"], id="an archive"),
    ],
)
@pytest.mark.slow
def test_every_form_of_a_program_is_found_again(script, words):
    folder = script.parent
    (folder / "__main__.py").write_text(PROGRAM)
    with zipfile.ZipFile(folder / "program.pyz", "w") as archive:
        archive.writestr("__main__.py", PROGRAM)
    check(script, ["-R", "-Xdev", *words], {"PYTHONHASHSEED": "0"})


def check(script: Path, words: list[str], environ: dict[str, str | None]) -> None:
    arguments = ["run", "-f", "a b", "-c", "", "-R"]
    answer = told(start(*words, *arguments, environ=environ, cwd=script.parent))
    assert answer["randomised"] == 0
    assert PINNED in (None, answer["hash"])
    assert answer["arguments"] == arguments
    assert answer["folder"] == str(script.parent)
    assert answer["dev"] is True
    assert (answer["tunables"], answer["mask"], answer["begun"]) == (None, None, None)


@pytest.mark.slow
def test_standard_input_descriptors_and_process_stay(script):
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    more = "print(sys.stdin.read(), os.read(int(sys.argv[1]), 99).decode())"
    words = ["-c", PROGRAM + more, str(reading)]
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[reading],
        env=environ,
    )
    out, _ = process.communicate("from standard input", timeout=60)
    first, last = out.splitlines()
    assert json.loads(first)["pid"] == process.pid
    assert last == "from standard input from a pipe"


@pytest.mark.slow
def test_what_python_was_told_to_overlook_stays_overlooked(script):
    environ = {"PYTHONPATH": "/nowhere/at/all", "PYTHONIOENCODING": "latin-1"}
    answer = told(start("-I", str(script), environ=environ))
    assert "/nowhere/at/all" not in answer["path"]
    assert answer["utf8"] is None


@pytest.mark.slow
def test_other_tunables_stay(script):
    tunables = "glibc.malloc.check=0:glibc.cpu.hwcaps=-FMA:glibc.malloc.tcache_count=5"
    answer = told(start(str(script), environ={"GLIBC_TUNABLES": tunables}))
    assert answer["tunables"] == "glibc.malloc.check=0:glibc.malloc.tcache_count=5"


@pytest.mark.slow
def test_a_process_begins_anew_once(tmp_path, script):
    """A Python that loses the variable on its way in, as one behind a wrapper may, is told so and ends."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nunset PYTHONHASHSEED\nexec {shlex.quote(sys.executable)} "$@"\n')
    wrapper.chmod(0o755)
    lost = f"import sys; sys.executable = {str(wrapper)!r}\n" + PROGRAM
    script.write_text(lost)
    done = start(str(script))
    assert done.returncode == 1
    assert done.stderr.startswith("PYTHONHASHSEED: does not reach this process")
    assert "PYTHONHASHSEED=0" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [pytest.param(["-"], id="named"), pytest.param([], id="not named")])
def test_a_program_from_standard_input_cannot_be_read_again(words):
    done = start(*words, input=PROGRAM)
    assert done.returncode == 1
    assert done.stderr == (
        "PYTHONHASHSEED: is not set, and the process cannot be restarted (got None); "
        "start the process with PYTHONHASHSEED=0\n"
    )
    assert told(start(*words, input=PROGRAM, environ={"PYTHONHASHSEED": "0"}))["randomised"] == 0


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["-m", "seedbed.cli", "-R"], ["-m", "seedbed.cli", "-R"]),
        (["-mseedbed.cli", "run"], ["-mseedbed.cli", "run"]),
        (["-RBE", "-W", "error", "-Xdev", "-c", "x", "-I"], ["-B", "-W", "error", "-Xdev", "-c", "x", "-I"]),
        (["-Ic", "x"], ["-Psc", "x"]),
        (
            ["-R", "--check-hash-based-pycs", "never", "-c", "x"],
            ["--check-hash-based-pycs", "never", "-c", "x"],
        ),
        (["-E", "--", __file__, "-E"], ["--", __file__, "-E"]),
        (["-i", __file__], ["-i", __file__]),
        (["-"], None),
        ([], None),
        (["-i"], None),
        (["/dev/null"], None),
        (["/no/such/file"], None),
    ],
)
def test_the_command_that_runs_the_same_program(words, command):
    assert restart_command("/py", words) == (command and ["/py", *command])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "verify", "driver", "worker"])
def test_the_commands_that_compute_begin_pinned(command):
    """Seen by the one thing that differs: `--help` of a Python that cannot begin anew."""
    program = "from seedbed.cli import main; main()"
    begun = start("-", "--help", command, input=program)
    assert begun.returncode == 2, begun.stdout
    assert begun.stderr.startswith("error: EnvironmentChanged: PYTHONHASHSEED: ")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["runs", "top", "logs", "validate", "dataset", "diff"])
def test_the_commands_that_do_not_compute_begin_as_they_are(command):
    assert start("-", command, "--help", input="from seedbed.cli import main; main()").returncode == 0


@pytest.mark.slow
def test_who_imports_the_command_line_is_left_alone():
    """A test that types a command in its own process must not be replaced by another run of itself."""
    own = "def typed():\\n    from seedbed.cli import main; main()"
    program = f"import types\nmodule = types.ModuleType('test')\nexec('{own}', vars(module))\nmodule.typed()"
    assert start("-", "run", "--help", input=program).returncode == 0


NUMPY = """
import importlib.abc, os, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            print("numpy", os.environ.get("NPY_DISABLE_CPU_FEATURES"), os.environ.get("OPENBLAS_CORETYPE"), flush=True)
        return None

sys.meta_path.insert(0, Watch())
from seedbed.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("cpu_class", ["baseline", "avx2"])
@pytest.mark.parametrize("words", [["run", "-f", "job.yaml"], ["verify", "nowhere"]])
def test_the_command_is_pinned_before_anything_imports_numpy(tmp_path, words, cpu_class):
    if not CPU_CLASSES[cpu_class].cpu_flags <= cpu_flags():
        pytest.skip(f"not run: this CPU is not of class {cpu_class}")
    shutil.copy(ROOT / "examples/digits.yaml", tmp_path / "job.yaml")
    places = ["--dataset", "nowhere", "--output", "runs"] if words[0] == "run" else []
    done = start("-c", NUMPY, *words, *places, environ={"SEEDBED_CPU_CLASS": cpu_class}, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    pins = pinned_variables(cpu_class)
    expected = f"numpy {pins['NPY_DISABLE_CPU_FEATURES']} {pins['OPENBLAS_CORETYPE']}"
    assert set(done.stdout.splitlines()) <= {expected}, done.stdout


AS_RECORDED = """
import json, os, sys
from seedbed.environment.process_start import restart_as_cpu_class, restart_if_unpinned
restart_if_unpinned()
first = os.environ["SEEDBED_CPU_CLASS"]
import numpy
restart_as_cpu_class("baseline", threads=2)
from numpy._core._multiarray_umath import __cpu_features__
print(json.dumps([first, os.environ["SEEDBED_THREADS"], os.environ["MKL_CBWR"], __cpu_features__["X86_V3"]]))
"""


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in cpu_flags(), reason="not run: this CPU has one class alone")
def test_who_recomputes_in_another_class_begins_anew_in_that_one():
    assert told(start("-c", AS_RECORDED)) == ["baseline", "2", "COMPATIBLE", False]
