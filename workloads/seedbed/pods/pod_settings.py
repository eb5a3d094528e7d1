"""What a pod is told by its environment, checked once. Another contract with the operator there is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from seedbed.driver.job_locations import with_absolute_locations
from seedbed.driver.resolve_run import ExpectedIdentity, RunOptions
from seedbed.feed.stream_spec import DEFAULT_CACHE_BYTES
from seedbed.pods.driver_socket import PROGRESS_PORT
from seedbed.storage import absolute_path
from seedbed_api.errors import UserError, refusal
from seedbed_api.job_kinds import Job
from seedbed_api.manifest_loader import any_job

RAY_PORT = 6379
SECRETS_FOLDER = "/etc/seedbed/secrets"

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PodSettings:
    """The settings of one pod, of the driver or of a worker."""

    role: Literal["driver", "worker"]
    job: Job
    attempt: int
    """The number in the names of the attempt's pods, from 1."""
    pod_name: str
    pod_ip: str
    device: str
    """`cpu` or `cuda`."""
    ranks: int
    """How many ranks this worker pod holds."""
    gpus: int
    """GPUs of a rank."""
    token: str = field(repr=False)
    """What proves that a pod belongs to the job."""
    ray_address: str | None
    """Where the head is; None for the driver that is it."""
    ray_port: int
    """Where the head listens."""
    progress_port: int
    """Where the driver tells of its progress; 0 takes a free one."""
    expected: ExpectedIdentity
    cache_folder: Path | None
    cache_bytes: int
    secrets_folder: Path

    @property
    def uid(self) -> str:
        """Return the uid of the job's object."""
        return self.job.metadata.uid or self.job.metadata.name

    @property
    def turn(self) -> str:
        """Return whose turn it is: what an earlier attempt had claimed is free."""
        return f"{self.uid}/{self.attempt}"

    def secret(self, role: str) -> Path | None:
        """Return the folder of a mounted secret (`dataset` or `output`), None where there is none."""
        folder = self.secrets_folder / role
        return folder if folder.is_dir() else None

    def options(self) -> RunOptions:
        """Return what the driver is given besides the manifest."""
        return RunOptions(
            device=self.device,
            dataset_secret=self.secret("dataset"),
            output_secret=self.secret("output"),
            cache_folder=self.cache_folder,
            cache_bytes=self.cache_bytes,
            expected=self.expected,
        )


def pod_settings(environ: Mapping[str, str]) -> PodSettings:
    """Return the settings in an environment; UserError InvalidSpec naming variable, value and fix."""
    read = _Variables(environ)
    role = read.one_of("SEEDBED_ROLE", ("driver", "worker"))
    mode = read.one_of("SEEDBED_RAY_MODE", ("head", "join"), default="head" if role == "driver" else "join")
    token = _token(read)
    cache = read.text("SEEDBED_CACHE_FOLDER", default="")
    return PodSettings(
        role="driver" if role == "driver" else "worker",
        job=read.parsed("SEEDBED_JOB", _job, "a TrainingJob or SweepJob as JSON"),
        attempt=read.number("SEEDBED_ATTEMPT", least=1),
        pod_name=read.text("POD_NAME"),
        pod_ip=read.text("POD_IP"),
        device=read.one_of("SEEDBED_DEVICE", ("cpu", "cuda"), default="cpu"),
        ranks=read.number("SEEDBED_RANKS", least=1, default=1),
        gpus=read.number("SEEDBED_GPUS", least=0, default=0),
        token=token,
        ray_address=_address(read) if mode == "join" else None,
        ray_port=read.number("SEEDBED_RAY_PORT", least=1, default=RAY_PORT),
        progress_port=read.number("SEEDBED_PROGRESS_PORT", least=0, default=PROGRESS_PORT),
        expected=ExpectedIdentity(
            dataset_digest=read.text("SEEDBED_EXPECTED_DATASET_DIGEST", default="") or None,
            run_id=read.text("SEEDBED_EXPECTED_RUN_ID", default="") or None,
            environment_class=read.text("SEEDBED_EXPECTED_ENVIRONMENT_CLASS", default="") or None,
        ),
        cache_folder=absolute_path(Path(cache)) if cache else None,
        cache_bytes=read.number("SEEDBED_CACHE_BYTES", least=1, default=DEFAULT_CACHE_BYTES),
        secrets_folder=absolute_path(Path(read.text("SEEDBED_SECRETS_FOLDER", default=SECRETS_FOLDER))),
    )


def _job(text: str) -> Job:
    return with_absolute_locations(any_job(json.loads(text), "SEEDBED_JOB"))


def _address(read: _Variables) -> str:
    return read.parsed("SEEDBED_RAY_ADDRESS", _host_and_port, "HOST:PORT of the head")


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(text)
    return text


def _token(read: _Variables) -> str:
    """Return the token of the job; a Ray that takes commands from anyone runs anyone's code."""
    read.one_of("RAY_AUTH_MODE", ("token",))
    token = read.environ.get("RAY_AUTH_TOKEN", "")
    if not token:
        raise _refused("RAY_AUTH_TOKEN", "", "is missing", "take the token of the job's Secret")
    return token


@dataclass(frozen=True, slots=True)
class _Variables:
    """An environment, and how its variables are read."""

    environ: Mapping[str, str]

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self.environ.get(name, "") or default
        if value is None:
            raise _refused(name, "", "is missing", "set it")
        return value

    def one_of(self, name: str, choices: tuple[str, ...], *, default: str | None = None) -> str:
        value = self.text(name, default=default)
        if value not in choices:
            raise _refused(name, value, "is not a choice", f"use {' or '.join(choices)}")
        return value

    def number(self, name: str, *, least: int, default: int | None = None) -> int:
        value = self.text(name, default=None if default is None else str(default))
        if not value.isdecimal() or int(value) < least:
            raise _refused(name, value, f"is not a number of at least {least}", "write it in decimal digits")
        return int(value)

    def parsed(self, name: str, parse: Callable[[str], _T], what: str) -> _T:
        value = self.text(name)
        try:
            return parse(value)
        except ValueError as error:
            raise _refused(name, value, f"is not {what}", f"write {what}") from error


def _refused(name: str, value: str, problem: str, fix: str) -> UserError:
    return UserError("InvalidSpec", refusal(name, value, problem, fix))
