"""The effective profile of a job: its TrainingProfile with the overrides of the job applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.execution_settings import OutputTrust, Overrides
from seedbed_api.job_kinds import JobSpec
from seedbed_api.pod_template import EnvVar
from seedbed_api.profile_policy import image_allowed, key_allowed, repository_of
from seedbed_api.trainingprofile import Resources, TrainingProfileSpec
from seedbed_operator.job_observation import JobView, ProfileView


@dataclass(frozen=True, kw_only=True, slots=True)
class EffectiveProfile:
    """Namespace and spec of a job, spec of its profile, and the values that follow from both."""

    namespace: str
    spec: JobSpec
    profile: TrainingProfileSpec

    @property
    def overrides(self) -> Overrides:
        """Return the overrides of the job."""
        return self.spec.cluster.overrides or Overrides()

    @property
    def image(self) -> str:
        """Return the image, by digest, of an attempt that pins it."""
        return self.overrides.image or self.profile.image

    def knows_image(self, image: str) -> bool:
        """Return whether an image is from a repository of the profile or of what it allows.

        So an image that somebody wrote into the status of a job is not used. Another digest may have been
        pinned before the profile changed.
        """
        own = (repository_of(self.image), repository_of(self.profile.image))
        return image_allowed(image, (*own, *self.profile.allowed_images))

    @property
    def workers_per_pod(self) -> int:
        """Return how many ranks share a pod."""
        return self.overrides.workers_per_pod or self.profile.worker.workers_per_pod

    @property
    def worker_resources(self) -> Resources:
        """Return the resources of one rank."""
        asked = {"cpu": self.overrides.cpu, "memory": self.overrides.memory}
        changed = {name: value for name, value in asked.items() if value is not None}
        return self.profile.worker.resources.model_copy(update=changed)

    @property
    def device(self) -> str:
        """Return the device of the ranks."""
        return "cuda" if self.profile.worker.gpu.count else "cpu"

    @property
    def pull_secrets(self) -> tuple[str, ...]:
        """Return the Secrets with which the image is pulled."""
        return tuple(dict.fromkeys((*self.profile.image_pull_secrets, *self.overrides.image_pull_secrets)))

    @property
    def service_account(self) -> str:
        """Return the service account of the pods."""
        return self.overrides.service_account_name or self.profile.service_account_name

    @property
    def priority_class(self) -> str | None:
        """Return the priority class of the pods."""
        return self.overrides.priority_class_name or self.profile.priority_class_name

    @property
    def output_trust(self) -> OutputTrust:
        """Return which stored objects the job reuses."""
        return self.spec.output.trust or self.profile.output_trust

    @property
    def signature_policy(self) -> SignaturePolicy | None:
        """Return whose signed runs the job reuses; only a profile can say so."""
        return self.profile.signature_policy if self.output_trust == "Signed" else None

    @property
    def env(self) -> tuple[tuple[EnvVar, ...], ...]:
        """Return the variables of the profile, then those of the job, which win."""
        return self.profile.env, self.overrides.env

    def extra_labels(self, job: JobView) -> dict[str, str]:
        """Return labels of pods from the profile, the job object (allowed ones) and the overrides."""
        return {
            **self.profile.labels,
            **allowed_entries(job.labels, self.profile.allowed_labels),
            **self.overrides.labels,
        }

    def extra_annotations(self, job: JobView) -> dict[str, str]:
        """Return annotations of pods from the profile, the job object (allowed ones) and the overrides."""
        return {
            **self.profile.annotations,
            **allowed_entries(job.annotations, self.profile.allowed_annotations),
            **self.overrides.annotations,
        }


def allowed_entries(entries: Mapping[str, str], allowed: tuple[str, ...]) -> dict[str, str]:
    """Return the entries whose key, or whole domain, is allowed."""
    return {key: value for key, value in entries.items() if key_allowed(key, allowed)}


def effective_profile(job: JobView, profile: ProfileView) -> EffectiveProfile:
    """Return the effective profile of a valid job with a valid profile."""
    assert job.spec is not None, "a job with an invalid spec has no pods"
    assert profile.spec is not None, "an invalid profile runs no job"
    return EffectiveProfile(namespace=job.namespace, spec=job.spec, profile=profile.spec)
