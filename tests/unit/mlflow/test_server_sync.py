"""A real MLflow store holds the figures of metrics.jsonl, each step once, however often those who log are killed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from seedbed.mlflow import server_sync
from seedbed.mlflow.mlflow_entries import CurveSource, RunEntry, entry_from_line
from seedbed.mlflow.server_sync import ServerSync
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from support.servers.endless_server import endless_server
from unit.driver.curves import STEPS, a_call, evaluate, metrics, train

pytestmark = pytest.mark.slow  # the import of MLflow takes seconds
RUN = "sha256:" + "ab" * 32
EXPERIMENT = "team-a/seedlings"
Logged = Counter[tuple[str, int, float]]


class Killed(Exception):  # noqa: N818 - an event
    """The process that logs is gone."""


class Dying(MlflowClient):  # type: ignore[misc]
    """A client whose process is killed right after some request that logs metrics."""

    left = 1

    def log_batch(self, run_id: str, metrics: Sequence[Any] = (), **fields: Any) -> None:
        super().log_batch(run_id, metrics=metrics, **fields)
        self.left -= bool(metrics)
        if not self.left:
            raise Killed


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URI of an empty store: files, the one that needs no server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return open_run(open_storage(str(tmp_path)), RUN)


def an_entry(folder: RunFolder) -> RunEntry:
    output = str(Path(folder.url.removeprefix("file://")).parents[1])
    return RunEntry(
        key={"seedbed.run_id": RUN},
        experiment=EXPERIMENT,
        name="seedlings",
        tags={"seedbed.run_id": RUN, "seedbed.dataset_digest": "sha256:00"},
        params={f"training.field{number}": str(number) for number in range(120)},
        curve=CurveSource(output=output, secret=None, run_id=RUN),
    )


def the_run(store: str) -> Run:
    """Return the only run of the experiment."""
    client = MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    return run


def logged(store: str) -> Logged:
    """Return how often each figure is there."""
    client, run = MlflowClient(tracking_uri=store), the_run(store)
    histories = (client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
    return Counter((metric.key, metric.step, metric.value) for found in histories for metric in found)


def plain_truth(folder: RunFolder) -> Logged:
    """Return the figures of metrics.jsonl, each once."""
    lines = metrics(folder)
    return Counter(
        (name, int(line["step"]), value) for line in lines for name, value in line.items() if name != "step"
    )


def trained_whole(folder: RunFolder) -> None:
    train(folder, 0, STEPS)
    evaluate(folder, "test", STEPS)
    a_call(folder).join(STEPS, over=True)


def test_an_entry_travels_as_one_line(folder: RunFolder) -> None:
    entry = replace(an_entry(folder), name="two\nlines", abandoned=(RUN,), results={"model/loss": 0.1})
    assert "\n" not in entry.line()
    assert entry_from_line(entry.line()) == entry
    assert json.loads(entry.line())["curve"]["run_id"] == RUN


def test_the_store_holds_the_figures_of_the_file(folder: RunFolder, store: str) -> None:
    trained_whole(folder)
    ServerSync(MlflowClient(tracking_uri=store)).sync(an_entry(folder))
    assert logged(store) == plain_truth(folder)
    run = the_run(store)
    assert run.data.params == an_entry(folder).params
    assert run.data.tags.items() >= an_entry(folder).tags.items()
    assert (run.info.run_name, run.info.status) == ("seedlings", "RUNNING")


@pytest.mark.parametrize("cuts", [(3, 5, 7), (4, 10)])
@pytest.mark.parametrize("same", [False, True], ids=["a process for each part", "one process"])
def test_a_run_that_goes_on_goes_on_in_its_entry(
    folder: RunFolder, store: str, cuts: tuple[int, ...], same: bool
) -> None:
    bookkeeper, done = ServerSync(MlflowClient(tracking_uri=store)), 0
    for cut in cuts:
        train(folder, done, cut)
        done = cut
        a_call(folder).join(cut, over=False)
        bookkeeper = bookkeeper if same else ServerSync(MlflowClient(tracking_uri=store))
        bookkeeper.sync(an_entry(folder))
    if done < STEPS:
        train(folder, done, STEPS)
    evaluate(folder, "test", STEPS)
    a_call(folder).join(STEPS, over=True)
    for _ in range(2):
        bookkeeper.sync(replace(an_entry(folder), state="FINISHED", results={"model/loss": 0.5}, step=STEPS))
    assert logged(store) == plain_truth(folder) + Counter([("model/loss", STEPS, 0.5)])
    assert the_run(store).info.status == "FINISHED"


def log_with_kills(folder: RunFolder, store: str, *, every: int) -> int:
    """Log with a client that dies after so many requests, over and over; return how often it died."""
    deaths = 0
    while True:
        client = Dying(tracking_uri=store)
        client.left = every
        try:
            ServerSync(client).sync(an_entry(folder))
        except Killed:
            deaths += 1
        else:
            return deaths


@pytest.mark.parametrize("every", [1, 3])
def test_no_step_is_logged_twice_after_a_kill(
    folder: RunFolder, store: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_sync, "MOST_METRICS", 4)
    trained_whole(folder)
    deaths = log_with_kills(folder, store, every=every)
    assert deaths == math.ceil(len(plain_truth(folder)) / 4) // every
    assert logged(store) == plain_truth(folder)


def test_who_does_not_ask_the_server_logs_twice(
    folder: RunFolder, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of the check: this store keeps what it is told twice."""
    page = ServerSync._server_run

    def forgetful(self: ServerSync, experiment: str, entry: RunEntry) -> server_sync.ServerRun:
        found = page(self, experiment, entry)
        found.last.clear()
        return found

    trained_whole(folder)
    monkeypatch.setattr(ServerSync, "_server_run", forgetful)
    for _ in range(2):
        ServerSync(MlflowClient(tracking_uri=store)).sync(an_entry(folder))
    assert set(logged(store)) == set(plain_truth(folder))
    assert set(logged(store).values()) == {2}


def test_states_follow_the_run_and_a_deleted_entry_is_made_anew(folder: RunFolder, store: str) -> None:
    trained_whole(folder)
    client, entry = MlflowClient(tracking_uri=store), an_entry(folder)
    for state in ("FAILED", "RUNNING", "FINISHED"):
        ServerSync(client).sync(replace(entry, state=state))  # type: ignore[arg-type]
        assert the_run(store).info.status == state
    client.delete_run(the_run(store).info.run_id)
    ServerSync(client).sync(entry)
    assert logged(store) == plain_truth(folder)


def test_a_trial_has_its_sweep_for_a_parent_and_a_pruned_one_ends_with_it(
    folder: RunFolder, store: str
) -> None:
    client = MlflowClient(tracking_uri=store)
    bookkeeper, key = ServerSync(client), {"seedbed.sweep_id": "sha256:cd", "seedbed.kind": "SweepJob"}
    trial = replace(
        an_entry(folder), parent=key, tags={"seedbed.sweep_id": "sha256:cd", **an_entry(folder).key}
    )
    bookkeeper.sync(trial)
    assert "mlflow.parentRunId" not in the_run(store).data.tags, "the sweep is not known yet"
    sweep = RunEntry(key=key, experiment=EXPERIMENT, name="sweep", tags=key, params={})
    bookkeeper.sync(sweep)
    bookkeeper.sync(trial)
    found = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    runs = {run.info.run_name: run for run in found}
    assert runs["seedlings"].data.tags["mlflow.parentRunId"] == runs["sweep"].info.run_id
    assert runs["seedlings"].info.status == "RUNNING"
    bookkeeper.sync(replace(sweep, state="FINISHED", abandoned=(RUN, "sha256:ef")))
    ended = client.get_run(runs["seedlings"].info.run_id)
    assert ended.info.status == "KILLED"


def test_an_answer_without_end_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = RunEntry(key={"seedbed.run_id": RUN}, experiment=EXPERIMENT, name="a", tags={}, params={})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with endless_server() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from seedbed.mlflow.__main__ import _sync_error; print(_sync_error(input()))",
            ],
            input=f"{entry.line()}\n",
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        )
    assert done.stdout == "MemoryError: an answer of the server takes more than 536,870,912 bytes\n"
    assert server.sent < 32_000, "2 GiB"
