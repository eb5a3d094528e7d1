"""Places are fixed before user code loads: no code moves them, and a receipt names them for `verify`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.runs.command_line import Scene

NETWORK = """
from torch import nn
class Net:
    def build(self, args):
        {build}
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, int(args['classes'])))
"""

HOSTILE = {
    "goes elsewhere": "import os; os.chdir('/')",
    "goes elsewhere when building": "",
    "removes the folder it stands in": "import os, tempfile; os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())",
    "changes home and temporary folder": "import os; os.environ.update(HOME='/x', TMPDIR='/x')",
    "empties the environment": "import os; os.environ.clear()",
    "takes the signals": "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL)",
    "writes files that nobody may read": "import os; os.umask(0o777)",
    "closes its standard streams": "import io, sys; sys.stdout = sys.stderr = io.StringIO(); sys.stdout.close()",
    "makes numpy, decimals and warnings raise": (
        "import decimal, numpy, warnings; numpy.seterr(all='raise'); decimal.getcontext().prec = 2; "
        "warnings.simplefilter('error')"
    ),
    "gives sockets no time": "import socket; socket.setdefaulttimeout(1e-9)",
    "configures logging for itself": "import logging.config as c; c.dictConfig({'version': 1})",
}


@pytest.mark.parametrize("deed", HOSTILE)
def test_user_code_moves_no_place_and_breaks_no_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    monkeypatch.chdir(scene.folder)
    build = "import os; os.chdir('/')" if deed == "goes elsewhere when building" else ""
    source = f"{HOSTILE[deed]}\n{NETWORK.format(build=build or 'pass')}"
    scene.code(source)
    model = {"entrypoint": "mine:Net", "code": {"uri": "code"}}
    scene.job(model=model, dataset__uri=os.path.relpath(scene.shared), output__uri="runs/../runs/")
    once = scene.type("run", "-f", "job.yaml", "-o", "json")
    assert once.exit_code == 0, once.stderr
    monkeypatch.chdir(scene.folder)
    again = scene.type("run", "-f", "job.yaml", "-o", "json")
    assert again.status["model"] == once.status["model"]
    receipt = json.loads((scene.run_folder() / "receipt.json").read_text())
    place = receipt["predicate"]["runDetails"]["seedbed_execution"]["datasetURI"]
    assert place == f"file://{scene.shared}"
    assert once.status["model"]["uri"] == f"file://{scene.run_folder()}/model"


@pytest.mark.parametrize(
    "written", ["../data", "../data/", "./x/../../data", "file://../data", "{link}/../data"]
)
def test_a_receipt_of_a_run_with_a_relative_dataset_is_verified(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    scene.copied()
    for name in ("project/x", "elsewhere"):
        (scene.folder / name).mkdir(parents=True)
    (scene.folder / "project/link").symlink_to(scene.folder / "elsewhere")
    monkeypatch.chdir(scene.folder / "project")
    scene.job(dataset__uri=written.format(link="link"), output__uri="../runs")
    assert scene.run().exit_code == 0
    monkeypatch.chdir("/")
    verified = scene.type("verify", scene.run_folder())
    assert (verified.exit_code, verified.errors) == (0, [])


def test_a_receipt_that_an_older_version_wrote_with_dots_is_verified_too(scene: Scene) -> None:
    from seedbed.replay.worker_config_from_receipt import DataSources, dataset_url

    scene.job()
    assert scene.run().exit_code == 0
    with_dots = f"file://{scene.shared.parent}/x/../{scene.shared.name}"
    from seedbed.receipts import read_receipt

    receipt = read_receipt(scene.run_folder())
    receipt.execution["datasetURI"] = with_dots  # type: ignore[index]
    assert dataset_url(receipt, DataSources()) == str(scene.shared)


def test_relative_flags_are_the_same_places(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.copied()
    monkeypatch.chdir(scene.folder)
    monkeypatch.setenv("HOME", str(scene.folder))
    scene.code("import os; os.chdir('/')\n" + NETWORK.format(build="pass"))
    scene.job(model={"entrypoint": "mine:Net"}, dataset__uri="nowhere", output__uri="nowhere")
    flags = (
        "--dataset",
        "~/data",
        "--cache",
        "~/cache",
        "--code",
        "./code/../code",
        "--set",
        "spec.output.uri=runs",
    )
    done = scene.type("run", "-f", "job.yaml", *flags, "-o", "json")
    assert done.exit_code == 0, done.stderr
    assert done.status["model"]["uri"].startswith(f"file://{scene.runs}/runs/")
    assert (scene.folder / "cache").is_dir()
    assert not (scene.folder / "nowhere").exists()


def test_a_relative_temporary_folder_is_that_of_the_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene.folder)
    Path("scratch").mkdir()
    monkeypatch.setenv("TMPDIR", "scratch")
    scene.code("import os; os.chdir('/')\n" + NETWORK.format(build="pass"))
    scene.job(model={"entrypoint": "mine:Net", "code": {"uri": "code"}})
    assert scene.run().exit_code == 0
    assert os.environ["TMPDIR"] == str(scene.folder / "scratch")


def test_a_switch_of_torch_that_the_bits_depend_on_is_named(scene: Scene) -> None:
    import torch

    scene.code("import torch; torch.set_default_dtype(torch.float64)\n" + NETWORK.format(build="pass"))
    scene.job(model={"entrypoint": "mine:Net", "code": {"uri": str(scene.folder / "code")}})
    try:
        refused = scene.run()
    finally:
        torch.set_default_dtype(torch.float32)
    (line,) = refused.errors
    assert refused.exit_code == 2
    assert "spec.model.entrypoint" in line
    assert "torch.set_default_dtype" in line


def test_a_run_folder_that_is_removed_at_the_end_lacks_its_report_alone(scene: Scene) -> None:
    deed = NETWORK.format(build="pass") + (
        "    def metrics(self, confusion):\n"
        f"        import shutil; shutil.rmtree({str(scene.runs / 'runs')!r}, ignore_errors=True); return {{}}\n"
    )
    scene.code(deed)
    scene.job(model={"entrypoint": "mine:Net", "code": {"uri": str(scene.folder / "code")}}, checkpoint=None)
    ended = scene.run()
    assert "no report: " in ended.stderr
    assert "stopped" not in ended.stderr
