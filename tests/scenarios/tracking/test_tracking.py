"""Whole runs of which an MLflow store is told, or should have been: the run is complete whatever the server does."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from seedbed.mlflow import run_recorder
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from support.runs.command_line import Scene, Typed, dataset, typed
from support.runs.sweep_commands import ASHA, Desk

pytestmark = pytest.mark.scenario
URI, TOKEN = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"
SECRET = "t0ken-of-nobody"


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("tracking") / "data", train=8, validation=4)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for as long as it takes: a busy machine is no trouble of a server."""
    monkeypatch.setattr(run_recorder, "PATIENCE_SECONDS", 600.0)
    monkeypatch.setattr(run_recorder, "PATIENCE_AFTER_ERROR_SECONDS", 600.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name an empty store of files, the one that needs no server, by the environment."""
    uri = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv(URI, uri)
    return uri


def runs_in(store: str, experiment: str = "tiny") -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def curve(store: str, run: Any) -> Counter[tuple[str, int, float]]:
    """Return how often each figure of the curves is there."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    names = [name for name in run.data.metrics if not name.startswith("model/")]
    found = (metric for name in names for metric in client.get_metric_history(run.info.run_id, name))
    return Counter((metric.key, metric.step, metric.value) for metric in found)


def plain_truth(folder: RunFolder) -> Counter[tuple[str, int, float]]:
    lines = [json.loads(line) for line in folder.objects.read("metrics.jsonl").splitlines()]
    return Counter(
        (name, line["step"], value) for line in lines for name, value in line.items() if name != "step"
    )


def folder_of(run: Any, runs: Path) -> RunFolder:
    return open_run(open_storage(str(runs)), run.data.tags["seedbed.run_id"])


def trained(scene: Scene, *words: object) -> Typed:
    return typed(scene.capture, "run", "-f", scene.job(), "-o", "json", *words)


def digest(done: Typed) -> str:
    return str(done.status["model"]["weightsDigest"])


def notices(done: Typed) -> list[str]:
    return [line for line in done.stderr.splitlines() if "MLFLOW" in line or "mlflow" in line.lower()]


def test_a_run_is_told_of_as_its_folder_has_it(scene: Scene, store: str) -> None:
    done = trained(scene)
    assert (done.exit_code, notices(done)) == (0, [])
    (run,) = runs_in(store)
    folder = folder_of(run, scene.runs)
    assert curve(store, run) == plain_truth(folder)
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert tags["seedbed.run_id"] == done.status["runID"]
    assert tags["seedbed.weights_digest"] == digest(done)
    assert tags["seedbed.dataset_digest"] == done.status["dataset"]["digest"]
    assert tags["seedbed.environment_class"] == done.status["environment"]["class"]
    assert tags["seedbed.run_folder"] == folder.url
    assert run.data.params["training.optimizer.learningRate"] == "0.05"
    assert run.data.params["model.args.width"] == "4"
    final = {name: float(value) for name, value in ((m["name"], m["value"]) for m in done.status["metrics"])}
    assert {name: run.data.metrics[f"model/{name}"] for name in final} == final


@pytest.mark.exhaustive
def test_what_was_complete_before_a_secret_named_a_server_is_made_up_for_once(
    scene: Scene, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URI)
    secret = scene.folder / "secret"
    secret.mkdir()
    first = digest(trained(scene, "--output-secret", secret))
    (secret / URI).write_text(f"{store}\n")
    (secret / "MLFLOW_EXPERIMENT_NAME").write_text("flowers")
    for _ in range(2):
        assert digest(trained(scene, "--output-secret", secret)) == first
    (run,) = runs_in(store, "flowers")
    assert curve(store, run) == plain_truth(folder_of(run, scene.runs))
    assert run.info.status == "FINISHED"
    assert URI not in os.environ


@pytest.mark.exhaustive
def test_a_run_that_fails_is_told_of_as_failed(scene: Scene, store: str) -> None:
    scene.job(training__optimizer__weightDecay="1000000")
    failed = typed(scene.capture, "run", "-f", scene.manifest)
    assert failed.exit_code == 2, failed.stderr
    (run,) = runs_in(store)
    assert run.info.status == "FAILED"


@contextmanager
def a_closed_port() -> Iterator[str]:
    """Yield the URL of a port where nobody listens while this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A server that knows no token."""

    def do_GET(self) -> None:
        body = f"no entry for {self.headers['Authorization']}".encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - their name

    def log_message(self, *what: object) -> None:
        """Say nothing."""


@contextmanager
def a_server_that_refuses() -> Iterator[str]:
    """Yield the URL of a server that takes no token, and shows the one that it got."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("there", [a_closed_port, a_server_that_refuses], ids=["no server", "a wrong token"])
def test_a_run_is_complete_without_its_server_and_says_so_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, there: Any
) -> None:
    expected = digest(trained(scene, "--output", scene.folder / "alone"))
    with there() as uri:
        monkeypatch.setenv(URI, uri)
        monkeypatch.setenv(TOKEN, SECRET)
        done = trained(scene)
    assert (done.exit_code, digest(done)) == (0, expected)
    (notice,) = notices(done)
    assert "MLFLOW_TRACKING_URI: does not take this run (MlflowException: " in notice
    assert f"(got '{uri}'); check the server and its credentials" in notice
    assert ("401" in notice) == (there is a_server_that_refuses)
    assert SECRET not in done.stderr + done.stdout


def test_without_the_package_a_run_says_what_to_install(
    scene: Scene, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = trained(scene)
    assert done.exit_code == 0
    (notice,) = notices(done)
    assert "mlflow-skinny is not installed" in notice
    assert "pip install 'seedbed[mlflow]'" in notice


def test_a_sweep_is_the_parent_of_its_trials(desk: Desk, store: str) -> None:
    status = desk.sweep(earlyStopping=ASHA).status
    runs = runs_in(store)
    (parent,) = (run for run in runs if run.data.tags.get("seedbed.kind") == "SweepJob")
    trials = {int(run.data.tags["seedbed.trial"]): run for run in runs if run is not parent}
    assert set(trials) == {0, 1, 2, 3}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    for run in trials.values():
        assert curve(store, run) == plain_truth(folder_of(run, desk.folder / "runs")), "each step once"
    states = Counter(run.info.status for run in trials.values())
    counts = status["trials"]
    assert counts["pruned"] > 0
    assert states == {"FINISHED": counts["succeeded"], "KILLED": counts["pruned"]}
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["seedbed.best_trial"] == str(status["bestTrial"]["index"])
    assert parent.data.metrics["best/validation/loss"] == float(status["bestTrial"]["objective"])


def test_nothing_of_mlflow_is_imported_where_a_model_trains() -> None:
    program = (
        "import sys\n"
        "import seedbed.driver.run_driver, seedbed.sweeps.sweep_driver, seedbed.mlflow.run_recorder\n"
        "print(sorted({'mlflow', 'fastapi', 'opentelemetry', 'databricks'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
