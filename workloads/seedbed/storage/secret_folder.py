"""Credentials: a mounted Secret, as a folder of files with known names; other files are ignored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seedbed_api.errors import UserError, refusal

S3_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
)
HTTP_KEYS = ("HTTP_BEARER_TOKEN",)
EMULATOR = "STORAGE_EMULATOR_HOST"
GCS_KEYS = ("GOOGLE_APPLICATION_CREDENTIALS", EMULATOR)
"""The JSON key itself (in the environment also its path), and the endpoint of an emulator."""
AZURE_KEYS = (
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SERVICE_ENDPOINT",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
)
HDFS_KEYS = ("HADOOP_USER_NAME", "WEBHDFS_DELEGATION_TOKEN")
STORE_KEYS = (*S3_KEYS, *HTTP_KEYS, *GCS_KEYS, *AZURE_KEYS, *HDFS_KEYS)
MLFLOW_KEYS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_EXPERIMENT_NAME",
)
"""In the Secret of an output: the MLflow server to which its runs are reported."""
CERTIFICATE = "ca.crt"
_MOST_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Secret:
    """The known keys of one secret folder; it is read when a storage connects and never pickled."""

    values: dict[str, str]
    certificate: Path | None


def read_secret(folder: Path | None) -> Secret:
    """Read the known keys of a secret folder; without a folder the secret is empty."""
    if folder is None:
        return Secret(values={}, certificate=None)
    if not _is_folder(folder):
        fix = f"mount a folder with files named {', '.join((*STORE_KEYS, CERTIFICATE))}"
        raise UserError("SecretNotFound", refusal("secretRef", str(folder), "is no folder", fix))
    known = (*STORE_KEYS, *MLFLOW_KEYS)
    values = {name: _read(folder / name) for name in known if _is_file(folder / name)}
    certificate = folder / CERTIFICATE
    return Secret(values=values, certificate=certificate if _is_file(certificate) else None)


def _is_folder(folder: Path) -> bool:
    with _read_errors(folder):
        return folder.is_dir()


def _is_file(file: Path) -> bool:
    with _read_errors(file):
        return file.is_file()


def _read(file: Path) -> str:
    with _read_errors(file), file.open("rb") as opened:
        data = opened.read(_MOST_BYTES + 1)
        text = data.decode() if len(data) <= _MOST_BYTES else None
    if text is None:
        problem, fix = f"has more than {_MOST_BYTES:,} bytes", "write the key alone into it"
        raise UserError("SecretNotFound", refusal("secretRef", str(file), problem, fix))
    return text.strip()


@contextlib.contextmanager
def _read_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read: {type(error).__name__}"
        fix = "make the file readable UTF-8 text"
        raise UserError("SecretNotFound", refusal("secretRef", str(file), problem, fix)) from error
