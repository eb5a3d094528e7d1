"""Two workers on Ray give the digest of one, whatever the shell and the working folder hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.runs.foreign_ray_variables import OF_OTHERS
from support.runs.job_builder import AUGMENTED, Recipe, Way, manifest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

UV = Path(sys.executable).with_name("uv")
RECIPE = Recipe(steps=6, augmentation=AUGMENTED)
NETWORK = """
from torch import nn

class Net:
    def build(self, args):
        kernels = (nn.Conv2d(3, 3, int(name[1:]), padding="same") for name in {"k1", "k3", "k5"})
        return nn.Sequential(*kernels, nn.Flatten(), nn.Linear(3 * 16 * 16, int(args["classes"])))
"""
HIDING = "raise SystemExit('hidden by ' + __file__)"
SHELL = OF_OTHERS | {
    "RAY_gcs_storage": "redis",
    "RAY_preload_python_modules": "no_such_module",
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_V2_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    "GLOO_SOCKET_IFNAME": "eth77",
    "GLOO_DEVICE_TRANSPORT": "TCP_TLS",
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "3",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "all_proxy": "http://127.0.0.1:9",
    "OMP_THREAD_LIMIT": "1",
    "PYTHONHASHSEED": "11",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the working folder of a user, with the network and files named like modules."""
    for name in ("PIL", "yaml", "torch", "numpy", "pandas", "pyarrow", "random", "socket", "email", "queue"):
        (tmp_path / f"{name}.py").write_text(HIDING)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/__init__.py").write_text(HIDING)
    (tmp_path / "network.py").write_text(NETWORK)
    return tmp_path


def digest(
    folder: Path, way: Way, *, data: Path, environ: Mapping[str, str], before: Sequence[str] = ()
) -> str:
    """Return the weights digest of a run that is typed in a folder."""
    output = folder / f"runs-{way.least}"
    job = manifest(RECIPE, way, data=data, output=str(output))
    job["spec"]["model"] = {"entrypoint": "network:Net"}
    (folder / "job.json").write_text(json.dumps(job))
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != "GLOO_SOCKET_IFNAME"
    }
    done = subprocess.run(
        [*before, sys.executable, "-m", "seedbed.cli", "run", "-f", "job.json", "-o", "json"],
        cwd=folder,
        env=inherited | dict(environ),
        stdout=subprocess.PIPE,
        timeout=600,
        check=True,
    )
    return str(json.loads(done.stdout)["model"]["weightsDigest"])


def test_neither_shell_nor_folder_changes_a_bit(digits: Path, folder: Path) -> None:
    alone = digest(folder, Way(), data=digits, environ={})
    long = folder / ("temporary-folder-of-a-slurm-job-" * 3)
    long.mkdir()
    way = Way(least=2, most=2, feed="RayData")
    # `uv run` has a hook of its own in Ray, which would build another environment for the workers
    options = ("--no-project", "--offline", "--no-cache", "--python", sys.executable)
    uv = [str(UV), "run", *options] if UV.exists() else []
    assert digest(folder, way, data=digits, environ=SHELL | {"TMPDIR": str(long)}, before=uv) == alone
