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

from seedbed.environment import environment_pins
from seedbed.environment.environment_pins import (
    CPU_CLASSES,
    cpu_flags,
    default_cpu_class,
    pin_environment,
    pinned_variables,
)
from seedbed_api.errors import UserError
from support.runs.preloaded_library import FLUSH_TO_ZERO, built, preload

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
    "name",
    [
        "OMP_THREAD_LIMIT", "OMP_TEAMS_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS", "OMP_NUM_TEAMS", "OMP_NESTED",
        "KMP_DEVICE_THREAD_LIMIT", "KMP_LIBRARY", "KMP_FORCE_REDUCTION", "MKL_DOMAIN_NUM_THREADS",
        "MKL_NUM_STRIPES", "MKL_THREADING_LAYER", "GOTO_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS",
        "ONEDNN_CPU_ISA_HINTS", "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_EXPERIMENTAL_BNORM_STATS_ONE_PASS",
        "NPY_ENABLE_CPU_FEATURES", "FBGEMM_ENABLE_INSTRUCTIONS", "CUBLAS_EMULATE_SINGLE_PRECISION",
        "CUBLASLT_WORKSPACE_SIZE", "CUDNN_UNFUSE_FMA", "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
        "TORCH_BLAS_PREFER_CUBLASLT", "TORCH_LINALG_PREFER_CUSOLVER", "DISABLE_ADDMM_CUDA_LT",
        "PYTORCH_TUNABLEOP_ENABLED", "PYTORCH_TENSOREXPR", "TORCHINDUCTOR_MAX_AUTOTUNE", "LD_HWCAP_MASK",
    ],
)  # fmt: skip
def test_what_would_choose_other_kernels_or_threads_is_removed(name):
    environ = {name: "1"}
    pin_environment(environ)
    assert name not in environ


@pytest.mark.parametrize(
    "name",
    [
        "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "OMP_STACKSIZE", "GOMP_CPU_AFFINITY", "KMP_AFFINITY",
        "KMP_BLOCKTIME", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "MKL_VERBOSE", "ONEDNN_VERBOSE", "CUDNN_LOGLEVEL_DBG", "TORCHINDUCTOR_CACHE_DIR",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "PYTORCH_CUDA_ALLOC_CONF", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD",
    ],
)  # fmt: skip
def test_what_tells_or_sets_speeds_stays(name):
    environ = {name: "1"}
    pin_environment(environ)
    assert environ[name] == "1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("glibc.cpu.hwcaps=-AVX2", None),
        ("glibc.malloc.check=3", "glibc.malloc.check=3"),
        ("glibc.malloc.check=3:glibc.cpu.hwcaps=-AVX2:glibc.cpu.x86_ibt=off", "glibc.malloc.check=3"),
        ("glibc.tune.hwcaps=-AVX2", None),
        ("", None),
    ],
)
def test_tunables_of_the_c_library_lose_what_chooses_its_code(before, after):
    environ = {"GLIBC_TUNABLES": before}
    pin_environment(environ)
    assert environ.get("GLIBC_TUNABLES") == after


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
    monkeypatch.setattr(environment_pins, "cpu_flags", lambda: frozenset({"sse4_1", "sse4_2", "avx2"}))
    with pytest.raises(UserError, match=r"lacks avx512bw, .*avx512vl"):
        pin_environment({}, cpu_class="avx512")


@given(flags=st.sets(st.sampled_from(sorted(CPU_CLASSES["avx512"].cpu_flags | {"sse4_1", "sse4_2"}))))
@settings(max_examples=30, deadline=None)
@on_x86
def test_the_default_class_never_needs_a_flag_that_the_cpu_lacks(flags):
    flags |= {"sse4_1", "sse4_2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment_pins, "cpu_flags", lambda: frozenset(flags))
        assert CPU_CLASSES[default_cpu_class()].cpu_flags <= flags


@on_x86
def test_pinning_twice_changes_nothing():
    environ: dict[str, str] = {}
    pin_environment(environ, threads=2)
    once = dict(environ)
    pin_environment(environ)
    assert environ == once


def test_pins_import_neither_torch_nor_numpy():
    done = fresh_python(
        "import sys, seedbed.environment.environment_pins; print({'torch', 'numpy'} & set(sys.modules))"
    )
    assert done.stdout.strip() == "set()", done.stderr


EFFECTIVE = """
import json, os
from seedbed.environment import *
from seedbed.environment.environment_pins import active_mkl_branch
from seedbed_api.errors import UserError
pin_environment(os.environ)
import torch
from seedbed.arithmetic.torch_determinism import enforce_determinism
enforce_determinism(threads=pinned_threads()); assert_pinned()
os.environ["KMP_SOMETHING"] = os.environ["MKL_SOMETHING"] = "1"  # as libraries do when they are imported
pin_environment(os.environ)
assert not {"KMP_SOMETHING", "MKL_SOMETHING"} & set(os.environ)
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
                  "refused": refused, "branch": active_mkl_branch()}))
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


COMPUTING = """
import os, sys
from seedbed.environment import *
from seedbed.environment.environment_pins import denormals_by_thread
from seedbed_api.errors import UserError
try:
    pin_environment(os.environ)
    import torch
    if "early" in sys.argv:
        torch.set_num_threads(2); torch.ones(10**6).sum()  # the pool of threads is there before it is looked at
    from seedbed.arithmetic.torch_determinism import enforce_determinism, enable_denormals
    enforce_determinism(threads=pinned_threads())
    assert_pinned()
    print(environment_class(environment_document()), denormals_by_thread())
    torch.set_flush_denormal(True); enable_denormals()
    assert torch.tensor(1e-40) * 1 > 0
except UserError as error:
    print(error.message)
"""
OPENMP = next(
    Path(environment_pins.__file__).parents[3].glob(".venv/lib/*/site-packages/torch/lib/libgomp.so.1"), None
)


@pytest.mark.slow
@on_x86
def test_a_preloaded_library_that_flushes_denormals_changes_no_class(tmp_path):
    plain = fresh_python(COMPUTING, SEEDBED_THREADS="2")
    preloaded = fresh_python(COMPUTING, SEEDBED_THREADS="2", **preload(built(tmp_path, FLUSH_TO_ZERO)))
    assert plain.stdout.endswith(" [True, True]\n"), plain.stdout + plain.stderr
    assert preloaded.stdout == plain.stdout, preloaded.stderr


@pytest.mark.slow
@on_x86
def test_threads_that_flush_denormals_for_good_are_refused_by_name(tmp_path):
    library = built(tmp_path, FLUSH_TO_ZERO)
    early = "import sys; sys.argv.append('early')"
    done = fresh_python(early + COMPUTING, SEEDBED_THREADS="2", **preload(library))
    assert done.stdout.startswith("LD_PRELOAD: a library has switched flush-to-zero on"), (
        done.stdout + done.stderr
    )
    assert library.name in done.stdout


OTHER_COSINES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
double cos(double x) {
    double (*honest)(double) = (double (*)(double))dlsym(RTLD_NEXT, "cos");
    union { double d; unsigned long long u; } bits = { x };
    double value = honest(x);
    return bits.u / 8 % 500 == 7 ? nextafter(value, 2.0) : value;
}
"""
ROUNDS_UP = """
#include <fenv.h>
__attribute__((constructor)) static void on(void) { fesetround(FE_UPWARD); }
"""


@pytest.mark.slow
@on_x86
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(OTHER_COSINES, id="one cosine of five hundred is off by an ulp"),
        pytest.param(ROUNDS_UP, id="everything is rounded up"),
    ],
)
def test_a_preloaded_library_that_computes_otherwise_is_another_class(tmp_path, source):
    library = preload(built(tmp_path, source))
    plain, other = fresh_python(COMPUTING), fresh_python(COMPUTING, **library)
    assert other.stdout.startswith("sha256:"), other.stdout + other.stderr
    assert other.stdout.split()[0] != plain.stdout.split()[0]


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS"])
def test_a_limit_of_threads_is_lifted_or_refused_by_name(tmp_path, limit):
    lifted = fresh_python(COMPUTING, SEEDBED_THREADS="2", **{limit: "1" if "LIMIT" in limit else "0"})
    assert lifted.stdout == fresh_python(COMPUTING, SEEDBED_THREADS="2").stdout
    if OPENMP is None:
        pytest.skip("not run: torch brings no OpenMP of its own that could be preloaded")
    library = tmp_path / OPENMP.name
    library.symlink_to(OPENMP)
    early = preload(library) | {limit: "1" if "LIMIT" in limit else "0"}
    refused = fresh_python(COMPUTING, SEEDBED_THREADS="2", **early)
    assert refused.stdout.startswith("OMP_THREAD_LIMIT: OpenMP computes with 1 thread instead of 2")


@pytest.mark.slow
def test_a_library_that_started_with_other_cosines_is_refused_by_name():
    done = fresh_python(COMPUTING, GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-FMA")
    assert done.stdout.startswith("GLIBC_TUNABLES: not the pin of this CPU class")
    assert "start the process without GLIBC_TUNABLES" in done.stdout


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
