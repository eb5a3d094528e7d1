"""What a driver says of its run while it trains and when it ends; trouble is told once, in one line."""

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
"""How long the end of a run waits for the server to take the rest of its curves, once."""
PATIENCE_AFTER_ERROR_SECONDS = 6.0
Notice = Callable[[str], None]


@dataclass(kw_only=True, slots=True)
class RunRecorder:
    """The account of one run or sweep."""

    entry: RunEntry
    client: SubprocessClient
    notice: Notice
    _told: bool = False

    def update(self) -> None:
        """Have what is new in the run folder brought to the server."""
        self.client.send(self.entry)
        self._tell_of_trouble()

    def flush(self) -> None:
        """Have what is new brought, and wait for it, for a time that is bounded."""
        self.client.send(self.entry)
        in_trouble = self._told or self.client.error
        patience = PATIENCE_AFTER_ERROR_SECONDS if in_trouble else PATIENCE_SECONDS
        if not self.client.wait_until_sent(patience=patience):
            self._tell(f"it has not answered for {patience:g} s")
        self._tell_of_trouble()

    def end(self, state: RunStatus, **changes: Any) -> None:
        """Say how it stands at the end of this call."""
        tags: Mapping[str, str] = changes.pop("tags", {})
        self.entry = replace(self.entry, state=state, tags={**self.entry.tags, **tags}, **changes)
        self.flush()

    def _tell_of_trouble(self) -> None:
        if self.client.error:
            self._tell(self.client.error)

    def _tell(self, error: str) -> None:
        if not self._told:
            self._told = True
            fix = "check the server and its credentials; the same command makes up for what is missing"
            self.notice(refusal(URI, self.client.settings.shown, f"does not take this run ({error})", fix))


def open_recorder(
    describe: Callable[[], RunEntry], secret: Path | None, notice: Notice
) -> RunRecorder | None:
    """Return the account of a run or sweep; the user may name another experiment than its entry.

    None where neither environment nor Secret name a server, or where what it takes is not installed.
    """
    settings = mlflow_settings(os.environ, read_secret(secret).values)
    if settings is None:
        return None
    if find_spec("mlflow") is None:
        fix = "pip install 'seedbed[mlflow]', or unset it; the run goes on and is not told of there"
        notice(refusal(URI, settings.shown, "mlflow-skinny is not installed", fix))
        return None
    entry = describe()
    entry = replace(entry, experiment=settings.experiment or entry.experiment)
    return RunRecorder(entry=entry, client=shared_client(settings), notice=notice)


@contextmanager
def record_run(recording: RunRecorder | None, end: Callable[[], Mapping[str, Any] | None]) -> Iterator[None]:
    """Say that a run trains, and at the end what became of it; one without an end goes on another time."""
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
        if error.reason != "Superseded":  # another attempt trains and tells of it
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
    """Bring what a server does not know of a run that was complete before."""
    if recording is not None and fields is not None:
        recording.end("FINISHED", **fields)
