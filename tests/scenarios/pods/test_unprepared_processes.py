"""On pods each task of a driver may be run by another process: none relies on what an earlier one set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.ray_cluster.local_ray import ChildProcess
from support.runs.small_run import a_dataset, a_manifest, train_run

NETWORK = """
from torch import nn
from torch.nn.functional import cross_entropy


class Net:
    def build(self, args):
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, int(args["classes"])))

    def loss(self, model, batch):
        return cross_entropy(model(batch.images_mchw), batch.labels_m)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Manifest and run folder of a complete run of user code that has no report yet."""
    folder = tmp_path_factory.mktemp("unprepared")
    (folder / "code").mkdir()
    (folder / "code/unprepared.py").write_text(NETWORK)
    manifest = a_manifest(a_dataset(folder / "data"), folder / "output")
    model = {"entrypoint": "unprepared:Net", "code": {"uri": str(folder / "code")}}
    manifest = {**manifest, "spec": manifest["spec"] | {"model": model}}
    return manifest, train_run(manifest)


def _resolved(manifest: dict[str, Any]) -> Any:
    """Resolve as the driver of pods: the environment is that of another process."""
    from seedbed.driver.resolve_run import RunOptions, resolve_run, worker_config_of
    from seedbed.driver.startup_timings import StartupTimings
    from seedbed_api.manifest_loader import training_job

    run = resolve_run(training_job(manifest), RunOptions(), StartupTimings(), cluster=ChildProcess())
    return run, worker_config_of(run, attempt=1, workers=WorkerRange(least=1, most=1))


def report_on(device: str, manifest: dict[str, Any]) -> str:
    from seedbed.driver.run_report_writer import write_report
    from seedbed.runs.result_file import read_result

    run, program = _resolved(manifest)
    result = read_result(run.folder)
    assert result is not None
    return write_report(run, replace(program, device=device), result, created="now")


def check_on(device: str, manifest: dict[str, Any]) -> str:
    from seedbed.training.model_check import check_model

    check_model(replace(_resolved(manifest)[1], device=device))
    return "checked"


def in_another_process(
    work: Callable[[str, dict[str, Any]], str], device: str, manifest: dict[str, Any]
) -> str:
    return ChildProcess().run_task(work, device, manifest)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_driver_of_pods_writes_the_report_of_user_code(
    trained: tuple[dict[str, Any], Path], device: str
) -> None:
    """Its process has trained nothing, and has no GPU when the workers have some."""
    manifest, folder = trained
    (folder / "report.html").unlink(missing_ok=True)
    written = in_another_process(report_on, device, manifest)
    assert written.endswith("/report.html")
    assert "Net" in (folder / "report.html").read_text()


def test_any_process_of_a_cluster_can_check_user_code(trained: tuple[dict[str, Any], Path]) -> None:
    assert in_another_process(check_on, "cpu", trained[0]) == "checked"
