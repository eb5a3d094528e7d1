"""Bringing what a server holds up to what run folders tell. Alone in its process: it imports MLflow."""

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
from seedbed.runs.curve_pieces import pieces_of
from seedbed.runs.run_folder import open_run
from seedbed.storage import open_storage

MOST_METRICS, MOST_FIELDS = 1000, 100
"""Of one request, by MLflow's limits."""
_PARENT, _EXISTS = "mlflow.parentRunId", "RESOURCE_ALREADY_EXISTS"
Figures = Mapping[str, Any]


@dataclass(kw_only=True, slots=True)
class ServerRun:
    """What the server holds of a run, as it answered, and as was logged since."""

    run_id: str
    """MLflow's own."""
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    last: dict[str, int]
    """The last step of each metric: those up to it are there."""
    read: set[str] = field(default_factory=set)
    """Pieces of the curves that are there altogether."""


class ServerSync:
    """Tells a server of entries, as often as one likes: what is there already is not sent again."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._pages: dict[str, ServerRun] = {}

    def sync(self, entry: RunEntry) -> None:
        """Log what is missing, and say how the run stands. After a failure the server is asked anew."""
        place = json.dumps([entry.experiment, entry.key])
        experiment = self._experiment(entry.experiment)
        page = self._pages.pop(place, None) or self._page(experiment, entry)
        self._describe(experiment, entry, page)
        if entry.curve is not None:
            for path, figures in _new_pieces(entry.curve, page.read):
                self._measure(page, figures)
                page.read.add(path)
        self._measure(page, [{"step": entry.step, **entry.results}])
        self._say(entry, page)
        self._abandon(experiment, entry)
        self._pages[place] = page

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != _EXISTS:
                raise
            return self._experiment(name)  # somebody else was first

    def _page(self, experiment: str, entry: RunEntry) -> ServerRun:
        run = self._found(experiment, entry.key) or self._client.create_run(
            experiment, run_name=entry.name, tags=entry.tags
        )
        return ServerRun(
            run_id=run.info.run_id,
            status=run.info.status,
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            last={metric.key: metric.step for metric in run.data.to_proto().metrics},
        )

    def _found(self, experiment: str, key: Mapping[str, str]) -> Run | None:
        """Return the first run with such tags that nobody has deleted."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in key.items())
        found = self._client.search_runs(
            [experiment], filter_string=wanted, max_results=1, order_by=["attributes.start_time ASC"]
        )
        return found[0] if found else None

    def _describe(self, experiment: str, entry: RunEntry, page: ServerRun) -> None:
        tags = dict(entry.tags)
        if entry.parent is not None and _PARENT not in page.tags:
            parent = self._found(experiment, entry.parent)
            tags |= {} if parent is None else {_PARENT: parent.info.run_id}
        params = [Param(name, value) for name, value in entry.params.items() if name not in page.params]
        changed = [RunTag(name, value) for name, value in tags.items() if page.tags.get(name) != value]
        for some in _slices(params, MOST_FIELDS):
            self._client.log_batch(page.run_id, params=some)
        for some in _slices(changed, MOST_FIELDS):
            self._client.log_batch(page.run_id, tags=some)
        page.params |= entry.params
        page.tags |= tags

    def _measure(self, page: ServerRun, figures: Sequence[Figures]) -> None:
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

    def _say(self, entry: RunEntry, page: ServerRun) -> None:
        if entry.state != page.status:
            if entry.state == "RUNNING":
                self._client.update_run(page.run_id, status="RUNNING")
            else:
                self._client.set_terminated(page.run_id, status=entry.state)
            page.status = entry.state

    def _abandon(self, experiment: str, entry: RunEntry) -> None:
        for run_id in entry.abandoned:
            run = self._found(experiment, {RUN_ID: run_id})
            if run is not None and run.info.status == "RUNNING":
                self._client.set_terminated(run.info.run_id, status="KILLED")


def _new_pieces(curve: CurveSource, read: set[str]) -> Iterator[tuple[str, list[Figures]]]:
    """Yield the pieces of a curve that were not read, as stored: the lines of metrics.jsonl."""
    secret = None if curve.secret is None else Path(curve.secret)
    folder = open_run(open_storage(curve.output, secret=secret), curve.run_id)
    for path in (piece.path for piece in pieces_of(folder)):
        if path not in read:
            yield path, [json.loads(line) for line in folder.objects.read(path).splitlines()]


def _slices(values: Sequence[Any], most: int) -> Iterator[list[Any]]:
    for first in range(0, len(values), most):
        yield list(values[first : first + most])
