"""What a driver says of its run while it trains and when it ends; trouble is told once, in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seedbed.mlflow.mlflow_entries import Entry, State
from seedbed.mlflow.mlflow_settings import URI, tracking_of
from seedbed.mlflow.subprocess_client import Courier, courier_to
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.storage.secret_folder import read_secret
from seedbed_api.errors import InfrastructureError, refusal

PATIENCE_SECONDS = 20.0
"""How long the end of a run waits for the server to take the rest of its curves, once."""
PATIENCE_IN_TROUBLE_SECONDS = 6.0
Notice = Callable[[str], None]


@dataclass(kw_only=True, slots=True)
class Recording:
    """The account of one run or sweep."""

    entry: Entry
    courier: Courier
    notice: Notice
    _told: bool = False

    def advance(self) -> None:
        """Have what is new in the run folder brought to the server."""
        self.courier.tell(self.entry)
        self._tell_of_trouble()

    def flush(self) -> None:
        """Have what is new brought, and wait for it, for a time that is bounded."""
        self.courier.tell(self.entry)
        in_trouble = self._told or self.courier.trouble
        patience = PATIENCE_IN_TROUBLE_SECONDS if in_trouble else PATIENCE_SECONDS
        if not self.courier.settle(patience=patience):
            self._tell(f"it has not answered for {patience:g} s")
        self._tell_of_trouble()

    def end(self, state: State, **changes: Any) -> None:
        """Say how it stands at the end of this call."""
        tags: Mapping[str, str] = changes.pop("tags", {})
        self.entry = replace(self.entry, state=state, tags={**self.entry.tags, **tags}, **changes)
        self.flush()

    def _tell_of_trouble(self) -> None:
        if self.courier.trouble:
            self._tell(self.courier.trouble)

    def _tell(self, trouble: str) -> None:
        if not self._told:
            self._told = True
            fix = "check the server and its credentials; the same command makes up for what is missing"
            self.notice(refusal(URI, self.courier.tracking.shown, f"does not take this run ({trouble})", fix))


def opened(describe: Callable[[], Entry], secret: Path | None, notice: Notice) -> Recording | None:
    """Return the account of a run or sweep; the user may name another experiment than its entry.

    None where neither environment nor Secret name a server, or where what it takes is not installed.
    """
    tracking = tracking_of(os.environ, read_secret(secret).values)
    if tracking is None:
        return None
    if find_spec("mlflow") is None:
        fix = "pip install 'seedbed[mlflow]', or unset it; the run goes on and is not told of there"
        notice(refusal(URI, tracking.shown, "mlflow-skinny is not installed", fix))
        return None
    entry = describe()
    entry = replace(entry, experiment=tracking.experiment or entry.experiment)
    return Recording(entry=entry, courier=courier_to(tracking), notice=notice)


@contextmanager
def recorded(recording: Recording | None, end: Callable[[], Mapping[str, Any] | None]) -> Iterator[None]:
    """Say that a run trains, and at the end what became of it; one without an end goes on another time."""
    if recording is None:
        yield
        return
    if end() is None:
        recording.advance()
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


def make_up(recording: Recording | None, fields: Mapping[str, Any] | None) -> None:
    """Bring what a server does not know of a run that was complete before."""
    if recording is not None and fields is not None:
        recording.end("FINISHED", **fields)
