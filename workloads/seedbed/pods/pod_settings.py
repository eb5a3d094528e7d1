"""The settings of a driver pod and of a worker pod, read from the environment by the pod contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from seedbed.driver.job_locations import with_absolute_locations
from seedbed.driver.resolve_run import RunOptions
from seedbed.feed.stream_spec import DEFAULT_CACHE_BYTES
from seedbed.storage import absolute_path
from seedbed_api.job_kinds import Job
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT, RAY_PORT
from seedbed_api.pod_contract.pod_environment import (
    DriverEnvironment,
    Number,
    PodEnvironment,
    PodIdentity,
    WorkerEnvironment,
)
from seedbed_api.run_identity import ExpectedIdentity


class PodSettings(PodIdentity, PodEnvironment):
    """The settings that driver and worker pods have in common."""

    ray_port: Number = Field(default=RAY_PORT, ge=1, alias=env_vars.RAY_PORT)
    """Port at which the head listens."""
    progress_port: Number = Field(default=PROGRESS_PORT, ge=0, alias=env_vars.PROGRESS_PORT)
    """Port of the driver's endpoint; 0 takes a free one."""
    secrets_folder: str = Field(default=paths.SECRETS, alias=env_vars.SECRETS_FOLDER)

    @field_validator("job", mode="after")
    @classmethod
    def _absolute(cls, job: Job) -> Job:
        return with_absolute_locations(job)

    @property
    def uid(self) -> str:
        """Return the uid of the job's object."""
        return self.job.metadata.uid or self.job.metadata.name

    @property
    def turn(self) -> str:
        """Return the turn of this attempt, which may take over runs that an earlier turn claimed."""
        return f"{self.uid}/{self.attempt}"

    def secret(self, name: str) -> Path | None:
        """Return the folder of a mounted Secret, None where the job names none."""
        folder = absolute_path(Path(self.secrets_folder)) / name
        return folder if folder.is_dir() else None

    def _owner_key(self) -> Path | None:
        """Return the file with the key of the namespace, None without one."""
        folder = self.secret(paths.OWNER_SECRET)
        return None if folder is None else folder / env_vars.TOKEN_KEY

    def options(self) -> RunOptions:
        """Return the options of the run besides the manifest."""
        return RunOptions(
            device=self.device,
            dataset_secret=self.secret(paths.DATASET_SECRET),
            output_secret=self.secret(paths.OUTPUT_SECRET),
            default_trust=self.output_trust,
            owner_key=self._owner_key(),
            signature_policy=self.signature_policy,
            cache_folder=absolute_path(Path(self.cache_folder)) if self.cache_folder else None,
            cache_bytes=self.cache_bytes or DEFAULT_CACHE_BYTES,
            expected=ExpectedIdentity(
                dataset_digest=self.expected_dataset_digest,
                run_id=self.expected_run_id,
                environment_class=self.expected_environment_class,
            ),
        )


class DriverSettings(DriverEnvironment, PodSettings):
    """The settings of a driver pod."""


class WorkerSettings(WorkerEnvironment, PodSettings):
    """The settings of a worker pod."""


def pod_settings(environ: Mapping[str, str]) -> DriverSettings | WorkerSettings:
    """Return the settings of this pod, by its role.

    Raises UserError InvalidSpec naming variable, value and fix.
    """
    role = WorkerSettings if environ.get(env_vars.ROLE) == "worker" else DriverSettings
    return role.from_env(environ)
