"""No module reads objects from bytes in a way that runs code; the places where Ray or Python do it are named.

ruff refuses the usual functions by name (S301, S302, S307, S506, TID251); this test also follows aliases.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("crds/seedbed_api", "operator/seedbed_operator", "workloads/seedbed", "images", "charts")

UNSAFE_MODULES = {
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "ray.cloudpickle",
    "jsonpickle",
    "pandas",
}
UNSAFE_NAMES = {
    "pickle": {"load", "loads", "Unpickler"},
    "_pickle": {"load", "loads", "Unpickler"},
    "torch": {"load", "save"},
    "torch.jit": {"load"},
    "torch.hub": {"load", "load_state_dict_from_url"},
    "torch.package": {"PackageImporter"},
    "torch.distributed": {
        "all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list",
        "send_object_list", "recv_object_list",
    },
    "numpy": {"load"},
    "yaml": {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all", "UnsafeLoader", "FullLoader", "Loader"},
    "builtins": {"eval", "exec"},
    "multiprocessing.managers": {"BaseManager", "SyncManager"},
    "multiprocessing.connection": {"Client", "Listener"},
    "xmlrpc.server": {"SimpleXMLRPCServer"},
}  # fmt: skip

ALLOWED = {
    ("crds/seedbed_api/yaml_documents.py", "yaml.load"): "with StrictLoader, a SafeLoader that refuses more",
    (
        "workloads/seedbed/training/weight_files.py",
        "torch.load",
    ): "with weights_only, which calls nothing that bytes name",
    ("workloads/seedbed/replay/multiprocess_recomputation.py", ".recv()"): (
        "a pipe that only this command and the processes that it has started hold"
    ),
}
"""(file, what) -> why no stranger's bytes come there."""

INSIDE_RAY = {
    "workloads/seedbed/ray_cluster/ray_trainer.py": "WorkerConfig to the ranks, through Ray Train",
    "workloads/seedbed/ray_cluster/process_group.py": "the calls that set up the group, through Ray Train",
    "workloads/seedbed/ray_cluster/gpu_process_group.py": "the same for ranks on GPUs",
    "workloads/seedbed/ray_cluster/elastic_policy.py": "its own settings, through Ray Train",
    "workloads/seedbed/ray_cluster/progress_board.py": "progress and errors of ranks, as calls of a Ray actor",
    "workloads/seedbed/ray_cluster/rendezvous_store.py": "nothing: bytes in Ray's control store",
    "workloads/seedbed/ray_cluster/ray_connection.py": "a function and its result, as a Ray task",
    "workloads/seedbed/ray_cluster/ray_nodes.py": "nothing of ours: Ray's list of nodes",
    "workloads/seedbed/ray_cluster/local_ray.py": "nothing of ours: Ray's start",
    "workloads/seedbed/sweeps/tune_runner.py": "segments, progress and reports of trials, through Ray Tune",
    "workloads/seedbed/dataset/ray_ingest.py": "options of Ray Data's tasks; rows travel as Arrow",
    "workloads/seedbed/feed/ray_data_source.py": "options of Ray Data's tasks; micro-batches travel as Arrow",
    "workloads/seedbed/startup/ray_environment.py": "nothing of ours: settings of the job",
}
"""Modules that import Ray -> what Ray pickles for them, between processes that hold the token of one Ray."""


def modules() -> Iterator[str]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield str(file.relative_to(ROOT))


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def full_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> dotted name that it was imported as."""
    names = {"eval": "builtins.eval", "exec": "builtins.exec"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def unsafe(tree: ast.Module) -> set[str]:
    """What in a module would run code that bytes name."""
    names = full_names(tree)
    found = {name for name in names.values() if _is_unsafe(name) and not name.startswith("builtins.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and _is_unsafe(name := dotted(node, names)):
            found.add(name)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "recv" and not node.args:
                found.add(".recv()")
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" or (keyword.arg == "weights_only" and not _is_true(keyword)):
                    found.add(str(keyword.arg))
    return found


def _is_true(keyword: ast.keyword) -> bool:
    return isinstance(keyword.value, ast.Constant) and keyword.value.value is True


def _is_unsafe(name: str) -> bool:
    module, _, last = name.rpartition(".")
    whole = any(name == each or name.startswith(f"{each}.") for each in UNSAFE_MODULES)
    return whole or last in UNSAFE_NAMES.get(module, ())


def test_no_module_unpickles() -> None:
    found = {(module, what) for module in modules() for what in unsafe(tree_of(module))}
    assert found == set(ALLOWED)


def test_the_modules_that_hand_objects_to_ray_are_named() -> None:
    importing = {
        module
        for module in modules()
        if any(name.partition(".")[0] == "ray" for name in full_names(tree_of(module)).values())
    }
    assert importing == set(INSIDE_RAY)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(b'')",
        "import pickle as p\np.load(file)",
        "from pickle import loads as read\nread(b'')",
        "from pickle import Unpickler\nUnpickler(file)",
        "import ray.cloudpickle as c\nc.loads(b'')",
        "from ray import cloudpickle",
        "import ray\nray.cloudpickle.loads(b'')",
        "import torch\ntorch.load(file)",
        "import torch\ntorch.load(file, weights_only=False)",
        "import torch.distributed as dist\ndist.broadcast_object_list([])",
        "import numpy as np\nnp.load(file)",
        "import numpy as np\nnp.lib.format.read_array(file, allow_pickle=True)",
        "import yaml\nyaml.unsafe_load(text)",
        "from yaml import Loader",
        "import joblib",
        "import shelve\nshelve.open(name)",
        "import marshal\nmarshal.loads(b'')",
        "def f(text): return eval(text)",
        "exec(text)",
        "pipe.recv()",
        "import pickle\nread = pickle.loads",
    ],
)
def test_unsafe_ways_are_found(source: str) -> None:
    assert unsafe(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.dumps(state)",
        "from safetensors.numpy import load\nload(b'')",
        "import json\njson.loads(text)",
        "connection.recv(4096)",
        "import yaml\nyaml.safe_load(text)",
        "model.eval()",
    ],
)
def test_safe_ways_are_not(source: str) -> None:
    assert not unsafe(ast.parse(source))
