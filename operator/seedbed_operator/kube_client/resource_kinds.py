"""The kinds of objects that the operator reads or writes, and their paths at the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from seedbed_api.job_kinds import JobKind


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceKind:
    """One resource of the API server."""

    name: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return the apiVersion of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of an object, or of the list of a namespace or of all of them."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = (f"{root}{scope}/{self.plural}", name, subresource)
        return "/".join(part for part in parts if part)


JOBS: Final = ResourceKind(name="TrainingJob", group="seedbed.dev", version="v1alpha1", plural="trainingjobs")
SWEEPS: Final = ResourceKind(name="SweepJob", group="seedbed.dev", version="v1alpha1", plural="sweepjobs")
KIND_OF_JOB: Final[Mapping[JobKind, ResourceKind]] = {"TrainingJob": JOBS, "SweepJob": SWEEPS}
"""The kinds of jobs that are reconciled."""
PROFILES: Final = ResourceKind(
    name="TrainingProfile",
    group="seedbed.dev",
    version="v1alpha1",
    plural="trainingprofiles",
    namespaced=False,
)
NAMESPACES: Final = ResourceKind(name="Namespace", group="", version="v1", plural="namespaces")
"""For authorization a namespace lies in itself: a Role there allows to get it."""
PODS: Final = ResourceKind(name="Pod", group="", version="v1", plural="pods")
SERVICES: Final = ResourceKind(name="Service", group="", version="v1", plural="services")
SECRETS: Final = ResourceKind(name="Secret", group="", version="v1", plural="secrets")
NETWORK_POLICIES: Final = ResourceKind(
    name="NetworkPolicy", group="networking.k8s.io", version="v1", plural="networkpolicies"
)
CORE_EVENTS: Final = ResourceKind(name="Event", group="", version="v1", plural="events")
EVENTS: Final = ResourceKind(name="Event", group="events.k8s.io", version="v1", plural="events")
LEASES: Final = ResourceKind(name="Lease", group="coordination.k8s.io", version="v1", plural="leases")

CREATABLE: Final = {kind.name: kind for kind in (PODS, SERVICES, SECRETS, NETWORK_POLICIES)}
"""Kinds that a plan may create."""


Key = tuple[str, str]

"""Namespace and name; the namespace of cluster-scoped objects is empty."""


class JobKey(NamedTuple):
    """Key of a reconcile: a TrainingJob and a SweepJob may have the same name."""

    namespace: str
    name: str
    kind: JobKind = "TrainingJob"
