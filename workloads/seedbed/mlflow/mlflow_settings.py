"""Which server is told of runs, and with which credentials: by environment, or by the output's Secret."""

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
    # it would tell MLflow's makers of its use; a cluster without an exit would log that it cannot
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Of the process that talks to the server, where the user has set nothing else."""
_LONGEST_ERROR = 200


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class MlflowSettings:
    """A server, and the environment of the process that talks to it."""

    uri: str
    experiment: str | None
    """Where runs are collected; None: the job says."""
    environ: Mapping[str, str]

    @property
    def shown(self) -> str:
        """Return the server's URL without what may be a credential."""
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def plain(self, text: str) -> str:
        """Return a text of the server or of MLflow as a part of one line, without credentials."""
        hidden = [self.environ.get(name, "") for name in MLFLOW_KEYS if name not in (URI, EXPERIMENT)]
        credentials = urlsplit(self.uri).netloc.rpartition("@")[0]
        for secret in (self.uri, credentials, credentials.partition(":")[2], *hidden):
            text = text.replace(secret, self.shown if secret == self.uri else "***") if secret else text
        return one_line(text)[:_LONGEST_ERROR]


def mlflow_settings(environ: Mapping[str, str], secret: Mapping[str, str]) -> MlflowSettings | None:
    """Return where runs are told of; None where neither an environment nor a Secret names a server.

    A Secret that names the server brings its credentials too: those of the environment are for another one.
    """
    known = {name: value for name in MLFLOW_KEYS if (value := secret.get(name))}
    theirs = {name: value for name in MLFLOW_KEYS if (value := environ.get(name))}
    told = known if URI in known else theirs | known
    if URI not in told:
        return None
    rest = {name: value for name, value in environ.items() if name not in MLFLOW_KEYS}
    return MlflowSettings(uri=told[URI], experiment=told.get(EXPERIMENT), environ=DEFAULTS | rest | told)
