"""Where a situation is made: a namespace and a profile of its own, nodes of its own, and what somebody does there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.eventually import eventually
from support.manifests.base_manifests import Case
from testbed.fake_nodes import FakeNodes
from testbed.kube import Json, Kube, Refused

GROUP = "/apis/seedbed.dev/v1alpha1"
JOB = "digits"
PATIENCE_SECONDS = 240.0
"""For a busy machine; on a quiet one nothing but a gang that is not complete takes more than seconds."""
UNSEEN = {"observedGeneration": -1}
"""The status of a job as it is created, whatever its creator wrote there: nobody has looked at it yet."""
COMMON_POOL = {f"spec.{role}.nodeSelector": {"pool": "common"} for role in ("driver", "worker")}
"""Nodes in name only with room for every job."""
_GROUPS = {
    "NetworkPolicy": "/apis/networking.k8s.io/v1",
    "PriorityClass": "/apis/scheduling.k8s.io/v1",
    "RuntimeClass": "/apis/node.k8s.io/v1",
    "TrainingJob": GROUP,
    "TrainingProfile": GROUP,
}
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_CLUSTER_WIDE = frozenset(
    {"Namespace", "PersistentVolume", "PriorityClass", "RuntimeClass", "TrainingProfile"}
)


def collection(kind: str, namespace: str) -> str:
    """Return the path of all objects of a kind, in a namespace where it has them."""
    admission = "Admission" in kind or "Webhook" in kind
    group = _ADMISSION if admission else _GROUPS.get(kind, "/api/v1")
    scope = "" if admission or kind in _CLUSTER_WIDE else f"/namespaces/{namespace}"
    return f"{group}{scope}/{_plural(kind.lower())}"


def _plural(name: str) -> str:
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("s") else f"{name}s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """One situation's part of the cluster; all that is not in its namespace bears the situation's name."""

    kube: Kube
    name: str
    """Also the name of its profile, of its pool of nodes, and of what is cluster-wide."""
    fake_nodes: FakeNodes | None = None
    job_base: Mapping[str, Any] = field(default_factory=dict)
    """What all jobs of a tier have in common, as changes of the smallest job."""
    profile_base: Mapping[str, Any] = field(default_factory=lambda: COMMON_POOL)
    """What all profiles of a tier have in common."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Keys that open the stores."""
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

    def path(self, kind: str, name: str) -> str:
        """Return the path of an object."""
        return f"{collection(kind, self.namespace)}/{name}"

    def filled(self, fields: Any) -> Any:
        """Return fields with the name of the situation in place of `{name}`."""
        return json.loads(json.dumps(fields).replace("{name}", self.name))

    def create(self, kind: str, name: str, **fields: Any) -> Json:
        """Create an object."""
        path = collection(kind, self.namespace)
        root = path.partition("/namespaces/")[0] if "/namespaces/" in path else path.rpartition("/")[0]
        version = root.removeprefix("/apis/").removeprefix("/api/")
        metadata = {"name": name, **fields.pop("metadata", {})}
        body = {"apiVersion": version, "kind": kind, "metadata": metadata, **self.filled(fields)}
        created = self.kube.create(path, body)
        if "namespace" not in created["metadata"]:
            self.made.append(f"{path}/{name}")
        return created

    def create_namespace(self) -> None:
        """Create the namespace."""
        self.kube.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def await_account(self) -> None:
        """Wait until pods can be created in it."""
        self.kube.wait_for(self.path("ServiceAccount", "default"), lambda _: True)

    def create_job(self, change: Mapping[str, Any]) -> Json:
        """Create the job: one worker, on the profile of the situation."""
        base: dict[str, Any] = {
            "metadata.name": JOB,
            **self.job_base,
            "spec.cluster": {"profile": self.name, "workers": {"min": 1, "max": 1}},
        }
        manifest = Case(change=self.filled(base | dict(change))).manifest()
        return self.kube.create(collection("TrainingJob", self.namespace), manifest)

    def create_profile(self, change: Mapping[str, Any]) -> Json:
        """Create the profile."""
        changes = json.loads(json.dumps({**self.profile_base, **change}))
        manifest = Case(kind="TrainingProfile", change=changes).manifest()
        return self.create("TrainingProfile", self.name, spec=manifest["spec"])

    def status(self) -> Json:
        """Return the status of the job as it is now."""
        return dict(self.kube.get(self.job).get("status", {}))

    def pods(self) -> list[Json]:
        """Return the pods of the namespace."""
        return self.kube.items(collection("Pod", self.namespace))

    def events(self) -> list[Json]:
        """Return what was announced about the job."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events"
        uid = self.kube.get(self.job)["metadata"]["uid"]
        return [event for event in self.kube.items(path) if event["regarding"].get("uid") == uid]

    def awaits(self, *, reason: str = "", parts: Sequence[str] = (), seconds: float) -> Json:
        """Return the condition Running once it has a reason and its message some parts."""

        def accepted(job: Json) -> bool:
            return says(conditions(job.get("status", {})).get("Running", {}), reason, parts)

        seen = self.kube.wait_for(self.job, accepted, seconds=seconds, what=" ".join((reason, *parts)))
        return conditions(seen["status"])["Running"]

    def clean_up(self) -> None:
        """Remove everything, without waiting for it."""
        for pod in self.pods():
            if "finalizers" in pod["metadata"]:
                path = self.path("Pod", pod["metadata"]["name"])
                self.kube.patch(path, {"metadata": {"finalizers": None}})
        for path in (*reversed(self.made), f"/api/v1/namespaces/{self.namespace}"):
            try:
                self.kube.delete(path)
            except Refused as refused:
                if refused.status != 404:
                    raise


def conditions(status: Json) -> dict[str, Json]:
    """Return the conditions of a status by type."""
    return {each["type"]: each for each in status.get("conditions", [])}


def says(running: Json, reason: str, parts: Sequence[str] = ()) -> bool:
    """Tell whether the condition Running has a reason, where one is given, and its message some parts."""
    named = running.get("reason") == reason or not reason
    return named and all(part in running.get("message", "") for part in parts)


def slug(name: str) -> str:
    """Return the name of a situation as objects bear it."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())[:36].rstrip("-")


Action = Callable[[Ground], object]
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
    return lambda ground: ground.create(kind, name or ground.name, **fields)


def deletes(kind: str, name: str = "") -> Action:
    """Delete an object."""
    return lambda ground: ground.kube.delete(ground.path(kind, name or ground.name), grace_seconds=0)


def patches(kind: str, name: str = "", **fields: Any) -> Action:
    """Merge fields into an object."""
    return lambda ground: ground.kube.patch(ground.path(kind, name or ground.name), fields)


def changes_job(**spec: Any) -> Action:
    """Merge fields into the spec of the job."""
    return patches("TrainingJob", JOB, spec=spec)


def changes_profile(**spec: Any) -> Action:
    """Merge fields into the spec of the profile."""
    return patches("TrainingProfile", spec=spec)


def suspends_and_resumes(ground: Ground) -> None:
    """Suspend the job, and resume it when its last pod is gone: the next attempt has the profile as it is then."""
    changes_job(suspend=True)(ground)
    ground.awaits(reason="Suspended", seconds=PATIENCE_SECONDS)
    changes_job(suspend=False)(ground)


def labels_namespace(*, enforce: str) -> Action:
    """Set the level of Pod Security."""

    def act(ground: Ground) -> None:
        labels = {"pod-security.kubernetes.io/enforce": enforce}
        ground.kube.patch(f"/api/v1/namespaces/{ground.namespace}", {"metadata": {"labels": labels}})

    return act


def adds_nodes(suffix: str = "pool", **options: Any) -> Action:
    """Add a fake node that bears the label `pool` with the situation's name."""

    def act(ground: Ground) -> None:
        assert ground.fake_nodes is not None
        (name,) = ground.fake_nodes.add_pool(
            f"{ground.name}-{suffix}", 1, labels={"pool": ground.name}, **options
        )
        ground.made.append(f"/api/v1/nodes/{name}")

    return act


def patches_node(**fields: Any) -> Action:
    """Merge fields into the situation's first node."""
    return lambda ground: ground.kube.patch(f"/api/v1/nodes/{ground.name}-pool-0", fields)


def awaits_message(part: str) -> Action:
    """Wait until the job's message says something, for longer than a job holds what it cannot use."""
    return lambda ground: ground.awaits(parts=[part], seconds=PATIENCE_SECONDS)


def is_refused(pod: Json | None) -> bool:
    """Tell whether a pod that was tried was refused."""
    return pod is None


def is_limited(pod: Json | None) -> bool:
    """Tell whether a pod that was tried, which says nothing of limits, was given some."""
    return pod is not None and "limits" in pod["spec"]["containers"][0]["resources"]


def awaits_admission(accepted: Callable[[Json | None], bool]) -> Action:
    """Wait until the API server has noticed what it is to enforce: a pod is tried until what becomes of it is accepted.

    A quota has no effect before its controller has counted, and every rule reaches the API server by a watch.
    """
    pod = {"metadata": {"name": "tried"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}

    def tried(ground: Ground) -> Json | None:
        try:
            return ground.kube.create(collection("Pod", ground.namespace), pod, dryRun="All")
        except Refused:
            return None

    def act(ground: Ground) -> None:
        eventually(
            lambda: tried(ground),
            accepted,
            what="an effect of what was set up on pods",
            seconds=PATIENCE_SECONDS,
        )

    return act


def leaves_a_pod_behind(ground: Ground) -> None:
    """Create a job of the same name, and delete it while something keeps its driver pod."""
    driver = ground.path("Pod", f"{JOB}-1-driver")
    ground.create_job({})
    ground.kube.wait_for(driver, lambda pod: pod["status"]["phase"] == "Running", seconds=PATIENCE_SECONDS)
    ground.kube.patch(driver, {"metadata": {"finalizers": ["example.org/kept"]}})
    ground.kube.delete(ground.job)
    ground.kube.wait_for(driver, lambda pod: "deletionTimestamp" in pod["metadata"], seconds=PATIENCE_SECONDS)


def lets_pods_pass(ground: Ground) -> None:
    """Remove the scheduling gates of all pods, as a queue does when it admits them."""
    for pod in ground.pods():
        ground.kube.patch(ground.path("Pod", pod["metadata"]["name"]), {"spec": {"schedulingGates": None}})


def said(status: Json) -> Json:
    """Return a status without its empty lists."""
    return {name: value for name, value in status.items() if value != []}


@contextmanager
def common_nodes(nodes: FakeNodes) -> Iterator[None]:
    """Have nodes with room for every job."""
    names = nodes.add_pool("common", 2, labels={"pool": "common"})
    try:
        yield
    finally:
        for name in names:
            nodes.remove(name)
