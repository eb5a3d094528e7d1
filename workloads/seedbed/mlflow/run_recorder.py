"""Records a run or sweep on the MLflow server; the first error is reported in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seedbed.mlflow.mlflow_entries import RunEntry, RunStatus
from seedbed.mlflow.mlflow_settings import URI, mlflow_settings
from seedbed.mlflow.subprocess_client import SubprocessClient, shared_client
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.storage.secret_folder import read_secret
from seedbed_api.errors import InfrastructureError, refusal

PATIENCE_SECONDS = 20.0
"""How long the end of a run waits until the server has the rest of its curves."""
PATIENCE_AFTER_ERROR_SECONDS = 6.0
Notice = Callable[[str], None]


@dataclass(kw_only=True, slots=True)
class RunRecorder:
    """Sends the entry of one run or sweep and reports the first error."""

    entry: RunEntry
    client: SubprocessClient
    notice: Notice
    _reported: bool = False

    def update(self) -> None:
        """Send the entry; the client process logs what is new in the run folder."""
        self.client.send(self.entry)
        self._report_client_error()

    def flush(self) -> None:
        """Send the entry and wait until the server has it, for a limited time."""
        self.client.send(self.entry)
        has_failed = self._reported or self.client.error
        patience = PATIENCE_AFTER_ERROR_SECONDS if has_failed else PATIENCE_SECONDS
        if not self.client.wait_until_sent(patience=patience):
            self._report(f"it has not answered for {patience:g} s")
        self._report_client_error()

    def end(self, state: RunStatus, **changes: Any) -> None:
        """Record the status at the end of this process."""
        tags: Mapping[str, str] = changes.pop("tags", {})
        self.entry = replace(self.entry, state=state, tags={**self.entry.tags, **tags}, **changes)
        self.flush()

    def _report_client_error(self) -> None:
        if self.client.error:
            self._report(self.client.error)

    def _report(self, error: str) -> None:
        if not self._reported:
            self._reported = True
            fix = "check the server and its credentials; the same command records what is missing"
            self.notice(refusal(URI, self.client.settings.shown, f"does not take this run ({error})", fix))


def open_recorder(
    describe: Callable[[], RunEntry], secret: Path | None, notice: Notice
) -> RunRecorder | None:
    """Return the recorder of a run or sweep, in the experiment that the user names or that of its entry.

    None without an MLflow server, or where the MLflow client is not installed.
    """
    settings = mlflow_settings(os.environ, read_secret(secret).values)
    if settings is None:
        return None
    if find_spec("mlflow") is None:
        fix = "pip install 'seedbed[mlflow]', or unset it; the run goes on and is not recorded there"
        notice(refusal(URI, settings.shown, "mlflow-skinny is not installed", fix))
        return None
    entry = describe()
    entry = replace(entry, experiment=settings.experiment or entry.experiment)
    return RunRecorder(entry=entry, client=shared_client(settings), notice=notice)


@contextmanager
def record_run(recording: RunRecorder | None, end: Callable[[], Mapping[str, Any] | None]) -> Iterator[None]:
    """Record that a run trains, and at the end its status; it stays RUNNING where `end` returns None."""
    if recording is None:
        yield
        return
    if end() is None:
        recording.update()
    try:
        yield
    except StopRequested:
        recording.end("RUNNING")
        raise
    except InfrastructureError as error:
        if error.reason != "Superseded":  # another attempt trains and records it
            recording.end("FAILED")
        raise
    except Exception:
        recording.end("FAILED")
        raise
    fields = end()
    if fields is None:
        recording.end("RUNNING")
    else:
        recording.end("FINISHED", **fields)


def record_finished_run(recording: RunRecorder | None, fields: Mapping[str, Any] | None) -> None:
    """Record a run that was complete before, as far as the server lacks it."""
    if recording is not None and fields is not None:
        recording.end("FINISHED", **fields)
