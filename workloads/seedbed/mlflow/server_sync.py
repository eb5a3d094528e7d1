"""Sync of the MLflow server with run folders, in the client process: the only module that imports MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from seedbed.mlflow.mlflow_entries import RUN_ID, CurveSource, RunEntry
from seedbed.runs.curve_pieces import list_curve_pieces
from seedbed.runs.run_folder import open_run
from seedbed.storage import open_output
from seedbed.storage.object_limits import METRICS_PIECE

MOST_METRICS, MOST_FIELDS = 1000, 100
"""Most entries of one request, by MLflow's limits."""
_PARENT, _EXISTS = "mlflow.parentRunId", "RESOURCE_ALREADY_EXISTS"
Figures = Mapping[str, Any]


@dataclass(kw_only=True, slots=True)
class ServerRun:
    """What the server has of a run: its answer, and what was logged since."""

    run_id: str
    """MLflow's own."""
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    last: dict[str, int]
    """Last step of each metric; the server has all steps up to it."""
    read: set[str] = field(default_factory=set)
    """Pieces of the curves that the server has completely."""


class ServerSync:
    """Logs entries to a server; what the server has already is not sent again."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._runs: dict[str, ServerRun] = {}

    def sync(self, entry: RunEntry) -> None:
        """Log what is missing and set the status; after an error the next sync reads the server again."""
        place = json.dumps([entry.experiment, entry.key])
        experiment = self._experiment(entry.experiment)
        page = self._runs.pop(place, None) or self._server_run(experiment, entry)
        self._log_tags_and_params(experiment, entry, page)
        if entry.curve is not None:
            for path, figures in _new_pieces(entry.curve, page.read):
                self._log_metrics(page, figures)
                page.read.add(path)
        self._log_metrics(page, [{"step": entry.step, **entry.results}])
        self._set_status(entry, page)
        self._end_abandoned(experiment, entry)
        self._runs[place] = page

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != _EXISTS:
                raise
            return self._experiment(name)  # another client has created it

    def _server_run(self, experiment: str, entry: RunEntry) -> ServerRun:
        run = self._find_run(experiment, entry.key) or self._client.create_run(
            experiment, run_name=entry.name, tags=entry.tags
        )
        return ServerRun(
            run_id=run.info.run_id,
            status=run.info.status,
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            last={metric.key: metric.step for metric in run.data.to_proto().metrics},
        )

    def _find_run(self, experiment: str, key: Mapping[str, str]) -> Run | None:
        """Return the oldest run with these tags that is not deleted."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in key.items())
        found = self._client.search_runs(
            [experiment], filter_string=wanted, max_results=1, order_by=["attributes.start_time ASC"]
        )
        return found[0] if found else None

    def _log_tags_and_params(self, experiment: str, entry: RunEntry, page: ServerRun) -> None:
        tags = dict(entry.tags)
        if entry.parent is not None and _PARENT not in page.tags:
            parent = self._find_run(experiment, entry.parent)
            tags |= {} if parent is None else {_PARENT: parent.info.run_id}
        params = [Param(name, value) for name, value in entry.params.items() if name not in page.params]
        changed = [RunTag(name, value) for name, value in tags.items() if page.tags.get(name) != value]
        for some in _slices(params, MOST_FIELDS):
            self._client.log_batch(page.run_id, params=some)
        for some in _slices(changed, MOST_FIELDS):
            self._client.log_batch(page.run_id, tags=some)
        page.params |= entry.params
        page.tags |= tags

    def _log_metrics(self, page: ServerRun, figures: Sequence[Figures]) -> None:
        """Log points in the order of their steps; up to the last step of a metric the server has them."""
        now = int(1000 * time.time())
        metrics = [
            Metric(name, value, now, point["step"])
            for point in figures
            for name, value in point.items()
            if name != "step" and point["step"] > page.last.get(name, -1)
        ]
        for some in _slices(metrics, MOST_METRICS):
            self._client.log_batch(page.run_id, metrics=some)
            page.last |= {metric.key: metric.step for metric in some}

    def _set_status(self, entry: RunEntry, page: ServerRun) -> None:
        if entry.state != page.status:
            if entry.state == "RUNNING":
                self._client.update_run(page.run_id, status="RUNNING")
            else:
                self._client.set_terminated(page.run_id, status=entry.state)
            page.status = entry.state

    def _end_abandoned(self, experiment: str, entry: RunEntry) -> None:
        for run_id in entry.abandoned:
            run = self._find_run(experiment, {RUN_ID: run_id})
            if run is not None and run.info.status == "RUNNING":
                self._client.set_terminated(run.info.run_id, status="KILLED")


def _new_pieces(curve: CurveSource, read: set[str]) -> Iterator[tuple[str, list[Figures]]]:
    """Yield path and lines of the new pieces of metrics.jsonl."""
    secret = None if curve.secret is None else Path(curve.secret)
    output = open_output(curve.output, secret=secret)
    folder = open_run(output.child(curve.folder) if curve.folder else output, curve.run_id)
    for path in (piece.path for piece in list_curve_pieces(folder)):
        if path not in read:
            yield path, folder.read_json_lines(path, METRICS_PIECE)


def _slices(values: Sequence[Any], most: int) -> Iterator[list[Any]]:
    for first in range(0, len(values), most):
        yield list(values[first : first + most])
