"""MLflow server and credentials, from the environment or from the output's Secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from seedbed.storage.secret_folder import MLFLOW_KEYS
from seedbed_api.conditions import one_line

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    # without egress MLflow would log that it cannot send its usage statistics
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment of the client process where the user sets nothing else."""
_LONGEST_ERROR = 200


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class MlflowSettings:
    """An MLflow server, and the environment of the client process."""

    uri: str
    experiment: str | None
    """Experiment of the runs; None takes that of the job."""
    environ: Mapping[str, str]

    @property
    def shown(self) -> str:
        """Return the URL of the server without credentials."""
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def plain(self, text: str) -> str:
        """Return a message of the server or of MLflow in one line, without credentials."""
        hidden = [self.environ.get(name, "") for name in MLFLOW_KEYS if name not in (URI, EXPERIMENT)]
        credentials = urlsplit(self.uri).netloc.rpartition("@")[0]
        for secret in (self.uri, credentials, credentials.partition(":")[2], *hidden):
            text = text.replace(secret, self.shown if secret == self.uri else "***") if secret else text
        return one_line(text)[:_LONGEST_ERROR]


def mlflow_settings(environ: Mapping[str, str], secret: Mapping[str, str]) -> MlflowSettings | None:
    """Return the settings; None where neither environment nor Secret names a server.

    A Secret that names the server must hold its credentials too: the environment has those of another one.
    """
    known = {name: value for name in MLFLOW_KEYS if (value := secret.get(name))}
    theirs = {name: value for name in MLFLOW_KEYS if (value := environ.get(name))}
    chosen = known if URI in known else theirs | known
    if URI not in chosen:
        return None
    rest = {name: value for name, value in environ.items() if name not in MLFLOW_KEYS}
    return MlflowSettings(
        uri=chosen[URI], experiment=chosen.get(EXPERIMENT), environ=DEFAULTS | rest | chosen
    )
