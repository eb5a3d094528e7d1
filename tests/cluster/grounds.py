"""Where a situation is made: a namespace and a profile of its own, nodes of its own, and what somebody does there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.fakenodes import FakeNodes
from testbed.kube import Json, Kube, Refused
from unit.api.bases import Case

GROUP = "/apis/seedbed.dev/v1alpha1"
JOB = "digits"
_PLURALS = {"ResourceQuota": "resourcequotas", "PriorityClass": "priorityclasses"}
_CLUSTER_WIDE = frozenset({"Namespace", "Node", "PersistentVolume", "PriorityClass", "TrainingProfile"})
_GROUPS = {
    "PriorityClass": "/apis/scheduling.k8s.io/v1",
    "TrainingJob": GROUP,
    "TrainingProfile": GROUP,
}
_ADMISSION = "admissionregistration.k8s.io"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """One situation's part of the cluster; all that is not in its namespace bears the situation's name."""

    kube: Kube
    fake_nodes: FakeNodes | None
    name: str
    """Also the name of its profile, of its pool of nodes, and of what is cluster-wide."""
    made: list[str] = field(default_factory=list)
    """Paths of what is not in the namespace, to be removed at the end."""

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return f"why-{self.name}"

    @property
    def job(self) -> str:
        """Path of the job."""
        return self.path("TrainingJob", JOB)

    def path(self, kind: str, name: str = "") -> str:
        """Return the path of an object, or of all of a kind."""
        group = _GROUPS.get(
            kind, f"/apis/{_ADMISSION}/v1" if "Admission" in kind or "Webhook" in kind else "/api/v1"
        )
        cluster_wide = kind in _CLUSTER_WIDE or _ADMISSION in group
        scope = "" if cluster_wide else f"/namespaces/{self.namespace}"
        plural = _PLURALS.get(
            kind, f"{kind.lower()[:-1]}ies" if kind.endswith("Policy") else f"{kind.lower()}s"
        )
        return f"{group}{scope}/{plural}" + (f"/{name}" if name else "")

    def create(self, kind: str, name: str, **fields: Any) -> Json:
        """Create an object."""
        path = self.path(kind)
        version = "/".join(
            part for part in path.split("/namespaces/")[0].split("/")[2:4] if part != path.rpartition("/")[2]
        )
        metadata = {"name": name, **fields.pop("metadata", {})}
        body = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
        created = self.kube.create(path, body)
        if "namespace" not in created["metadata"]:
            self.made.append(self.path(kind, name))
        return created

    def status(self) -> Json:
        """Return the status of the job as it is now."""
        return dict(self.kube.get(self.job).get("status", {}))

    def events(self) -> list[Json]:
        """Return what was announced about the job."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        return [event for event in self.kube.items(path) if event["regarding"].get("kind") == "TrainingJob"]

    def column(self) -> str:
        """Return what `kubectl get` shows as the job's STATUS."""
        lines = self.kube.kubectl("get", "trainingjob", JOB, "-n", self.namespace).splitlines()
        start, end = lines[0].index("STATUS"), lines[0].index("PROGRESS")
        return lines[1][start:end].strip()

    def clean_up(self) -> None:
        """Remove everything, without waiting for it."""
        for path in (*reversed(self.made), f"/api/v1/namespaces/{self.namespace}"):
            try:
                self.kube.delete(path)
            except Refused as refused:
                if refused.status != 404:
                    raise


Action = Callable[[Ground], None]
"""Something that somebody does to a cluster."""


def nothing(_: Ground) -> None:
    """Do nothing."""


def both(*actions: Action) -> Action:
    """Return one action that does several."""

    def act(ground: Ground) -> None:
        for action in actions:
            action(ground)

    return act


def creates(kind: str, name: str = "", **fields: Any) -> Action:
    """Create an object, named as the situation where nothing else is said."""
    return lambda ground: void(ground.create(kind, name or ground.name, **fields))


def deletes(kind: str, name: str = "") -> Action:
    """Delete an object."""
    return lambda ground: void(ground.kube.delete(ground.path(kind, name or ground.name), grace_seconds=0))


def patches(kind: str, name: str = "", **fields: Any) -> Action:
    """Merge fields into an object."""
    return lambda ground: void(ground.kube.patch(ground.path(kind, name or ground.name), fields))


def changes_job(**spec: Any) -> Action:
    """Merge fields into the spec of the job."""
    return patches("TrainingJob", JOB, spec=spec)


def changes_profile(**spec: Any) -> Action:
    """Merge fields into the spec of the profile."""
    return patches("TrainingProfile", spec=spec)


def labels_namespace(**labels: str) -> Action:
    """Set labels of the namespace; `_` stands for `-`."""

    def act(ground: Ground) -> None:
        marks = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
        ground.kube.patch(f"/api/v1/namespaces/{ground.namespace}", {"metadata": {"labels": marks}})

    return act


def adds_nodes(suffix: str = "pool", count: int = 1, **options: Any) -> Action:
    """Add fake nodes that bear the label `pool` with the situation's name."""

    def act(ground: Ground) -> None:
        assert ground.fake_nodes is not None
        labels = {"pool": ground.name, **options.get("labels", {})}
        fields = {**options, "labels": labels}
        names = ground.fake_nodes.add_pool(f"{ground.name}-{suffix}", count, **fields)
        ground.made.extend(f"/api/v1/nodes/{name}" for name in names)

    return act


def patches_node(suffix: str = "pool-0", **fields: Any) -> Action:
    """Merge fields into one of the situation's nodes."""
    return lambda ground: void(ground.kube.patch(f"/api/v1/nodes/{ground.name}-{suffix}", fields))


def void(_: object) -> None:
    """Forget an answer."""


def a_job(ground: Ground, change: Mapping[str, Any]) -> Json:
    """Return the job: one worker, on the profile of the situation."""
    base: dict[str, Any] = {
        "metadata.name": JOB,
        "spec.cluster": {"profile": ground.name, "workers": {"min": 1, "max": 1}},
    }
    return Case(change=base | dict(change)).manifest()


def a_profile(ground: Ground, change: Mapping[str, Any]) -> Json:
    """Return the profile: pods go to nodes that `pool` names; the common ones where nothing else is said."""
    base: dict[str, Any] = {
        "metadata.name": ground.name,
        "spec.driver.nodeSelector": {"pool": "common"},
        "spec.worker.nodeSelector": {"pool": "common"},
        "spec.cache.sizeLimit": "1Gi",
    }
    return Case(kind="TrainingProfile", change=base | dict(change)).manifest()


def waits_for(question: Callable[[], bool], *, what: str, seconds: float = 30) -> None:
    """Wait until the answer is yes."""
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
