"""Pins are set before torch, named by class, and refused when they came too late."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.environment import pins
from seedbed.environment.pins import (
    CPU_CLASSES,
    cpu_flags,
    default_cpu_class,
    pin_environment,
    pinned_variables,
)
from seedbed_api.errors import UserError

ROOT = Path(__file__).parents[3]
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="not run: the classes are of x86-64")


def fresh_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        k: v for k, v in os.environ.items() if k not in {*pinned_variables("avx2"), "MKL_ENABLE_INSTRUCTIONS"}
    }
    path = os.pathsep.join(str(ROOT / part) for part in ("workloads", "crds"))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"PYTHONPATH": path} | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@on_x86
def test_an_empty_environment_gets_the_default_class_and_one_thread():
    environ: dict[str, str] = {}
    pin_environment(environ)
    assert environ["SEEDBED_CPU_CLASS"] == default_cpu_class()
    assert environ["OMP_NUM_THREADS"] == "1"
    assert environ["NVIDIA_TF32_OVERRIDE"] == "0"


@pytest.mark.parametrize(
    ("environ", "arguments", "variable", "wanted"),
    [
        pytest.param(
            {"SEEDBED_CPU_CLASS": "baseline"},
            {},
            "MKL_CBWR",
            "COMPATIBLE",
            id="the variable chooses the class",
        ),
        pytest.param(
            {"SEEDBED_CPU_CLASS": "baseline"},
            {"cpu_class": "generic"},
            "SEEDBED_CPU_CLASS",
            "generic",
            id="the argument wins",
        ),
        pytest.param(
            {"SEEDBED_THREADS": "3"}, {}, "MKL_NUM_THREADS", "3", id="the variable chooses the threads"
        ),
        pytest.param(
            {"OMP_NUM_THREADS": "7"}, {}, "OMP_NUM_THREADS", "1", id="a foreign thread count is replaced"
        ),
        pytest.param(
            {"SEEDBED_CPU_CLASS": "baseline", "MKL_CBWR": "AVX512"},
            {},
            "MKL_CBWR",
            "COMPATIBLE",
            id="a foreign ISA is replaced",
        ),
    ],
)
@on_x86
def test_who_decides_a_pin(environ, arguments, variable, wanted):
    pin_environment(environ, **arguments)
    assert environ[variable] == wanted


@on_x86
def test_rival_spellings_of_a_pin_are_removed():
    environ = {"DNNL_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    pin_environment(environ)
    assert not {"DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"} & set(environ)


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        pytest.param({"SEEDBED_CPU_CLASS": "avx9"}, "SEEDBED_CPU_CLASS", id="a class that does not exist"),
        pytest.param({"SEEDBED_THREADS": "0"}, "SEEDBED_THREADS", id="no thread at all"),
        pytest.param({"SEEDBED_THREADS": "two"}, "SEEDBED_THREADS", id="threads in words"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_the_variable(environ, field):
    with pytest.raises(UserError, match=field):
        pin_environment(environ)


def test_a_class_that_the_cpu_lacks_is_refused_with_what_is_missing(monkeypatch):
    monkeypatch.setattr(pins, "cpu_flags", lambda: frozenset({"sse4_1", "sse4_2", "avx2"}))
    with pytest.raises(UserError, match=r"lacks avx512bw, .*avx512vl"):
        pin_environment({}, cpu_class="avx512")


@given(flags=st.sets(st.sampled_from(sorted(CPU_CLASSES["avx512"].cpu_flags | {"sse4_1", "sse4_2"}))))
@settings(max_examples=30, deadline=None)
@on_x86
def test_the_default_class_never_needs_a_flag_that_the_cpu_lacks(flags):
    flags |= {"sse4_1", "sse4_2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pins, "cpu_flags", lambda: frozenset(flags))
        assert CPU_CLASSES[default_cpu_class()].cpu_flags <= flags


@on_x86
def test_pinning_twice_changes_nothing():
    environ: dict[str, str] = {}
    pin_environment(environ, threads=2)
    once = dict(environ)
    pin_environment(environ)
    assert environ == once


def test_pins_import_neither_torch_nor_numpy():
    done = fresh_python("import sys, seedbed.environment.pins; print({'torch', 'numpy'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


EFFECTIVE = """
import json, os
from seedbed.environment import *
from seedbed.environment.pins import mkl_branch_in_effect
from seedbed_api.errors import UserError
pin_environment(os.environ)
import torch
from seedbed.arithmetic.determinism import fix_determinism
fix_determinism(threads=pinned_threads()); assert_pinned()
document = environment_document(arithmetic_version=1)
check_probe(document["probe"])
refused = {}
def attempt(name, change, undo):
    change()
    try:
        assert_pinned()
    except UserError as error:
        refused[name] = error.message
    undo()
attempt("variable", lambda: os.environ.update(MKL_CBWR="AVX"), lambda: os.environ.update(MKL_CBWR="AVX2"))
attempt("threads", lambda: torch.set_num_threads(2), lambda: torch.set_num_threads(1))
attempt("unset", lambda: os.environ.pop("SEEDBED_CPU_CLASS"), lambda: os.environ.update(SEEDBED_CPU_CLASS="avx2"))
try:
    pin_environment(os.environ, threads=2)
except UserError as error:
    refused["late"] = error.message
assert_pinned()
print(json.dumps({"document": document, "class": environment_class(document), "name": environment_name(document),
                  "refused": refused, "branch": mkl_branch_in_effect()}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not CPU_CLASSES["avx2"].cpu_flags <= cpu_flags(), reason="not run: this CPU is not of class avx2"
)
def test_pins_hold_in_a_real_process_and_every_change_is_refused():
    done = fresh_python(EFFECTIVE, SEEDBED_CPU_CLASS="avx2")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["document"]["cpu"]["capability"] == "AVX2"
    assert answer["name"].startswith("cpu-avx2-t1-torch")
    assert answer["class"].startswith("sha256:")
    assert set(answer["refused"]) == {"variable", "threads", "unset", "late"}
    assert "OMP_NUM_THREADS" in answer["refused"]["threads"]
    assert "MKL_CBWR" in answer["refused"]["variable"]


@pytest.mark.slow
@pytest.mark.skipif(
    not CPU_CLASSES["avx2"].cpu_flags <= cpu_flags(), reason="not run: this CPU is not of class avx2"
)
def test_a_pin_that_came_after_torch_is_refused():
    code = """
import os, torch
torch.backends.cpu.get_cpu_capability()
for name, value in __import__("seedbed.environment").environment.pinned_variables("avx2").items():
    os.environ[name] = value
from seedbed.environment import assert_pinned
from seedbed_api.errors import UserError
try:
    assert_pinned()
except UserError as error:
    print(error.message)
"""
    done = fresh_python(code, ATEN_CPU_CAPABILITY="default")
    assert done.stdout.startswith("ATEN_CPU_CAPABILITY"), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not CPU_CLASSES["avx512"].cpu_flags <= cpu_flags(), reason="not run: this CPU is not of class avx512"
)
def test_each_class_computes_its_own_bits_and_the_same_in_every_process():
    code = """
import json, os
from seedbed.environment import *
pin_environment(os.environ)
import torch
print(json.dumps(environment_document()["probe"]["parts"]))
"""
    parts = {
        (name, run): json.loads(fresh_python(code, SEEDBED_CPU_CLASS=name).stdout)
        for name in ("baseline", "avx2", "avx512")
        for run in (1, 2)
    }
    for name in ("baseline", "avx2", "avx512"):
        assert parts[name, 1] == parts[name, 2]
    for part in ("convolution", "gemm", "exp"):
        assert len({parts[name, 1][part] for name in ("baseline", "avx2", "avx512")}) == 3, part
    for part in ("decode", "resize"):
        assert len({parts[name, 1][part] for name in ("baseline", "avx2", "avx512")}) == 1, part
