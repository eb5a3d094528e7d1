"""TrainingProfile: the admin's description of where training runs, and of what a job may override."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seedbed_api.blocks import Block, StatusBlock
from seedbed_api.conditions import Conditions
from seedbed_api.lists import Bounded
from seedbed_api.metadata import ObjectMeta
from seedbed_api.scalars import Generation, Image, Integer, Matches, Quantity, ResourceName, Seconds, text

Overridable = Literal["image", "cpu", "memory", "workersPerPod", "priorityClassName"]
UriPrefix = Annotated[
    str,
    Matches(
        r"^[a-z][a-z0-9+.-]*://[^\x00-\x20\x7f]*$",
        1024,
        "must be the beginning of a URL",
        "write for example s3://datasets/",
    ),
]
NodeSelector = Annotated[dict[str, Annotated[str, text(63)]], Field(max_length=32)]


class Toleration(Block):
    """A taint that pods of this profile bear, as in a Pod."""

    key: Annotated[str, text(317)] | None = None
    """Key of the taint; every key when left out."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the value counts."""
    value: Annotated[str, text(63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; every effect when left out."""
    toleration_seconds: Seconds | None = None
    """How long a NoExecute taint is borne."""


Tolerations = Annotated[tuple[Toleration, ...], Bounded(most=32)]


class Resources(Block):
    """What one container asks for; memory is request and limit alike."""

    cpu: Quantity = "1"
    """CPU cores."""
    memory: Quantity = "2Gi"
    """Memory."""
    ephemeral_storage: Quantity | None = None
    """Local disk for logs and temporary files."""


class Driver(Block):
    """The pod that is the job; it never trains."""

    resources: Resources = Resources()
    """What it asks for."""
    node_selector: NodeSelector = Field(default_factory=dict)
    """Nodes that it may run on; those of the workers need not be among them."""
    tolerations: Tolerations = ()
    """Taints that it bears."""


class Gpu(Block):
    """The accelerator of a worker."""

    resource: Annotated[str, text(253)] = "nvidia.com/gpu"
    """Name of the extended resource."""
    count: Annotated[Integer, Field(ge=0, le=16)] = 0
    """How many each training rank has; 0 trains on CPU."""


class Worker(Block):
    """The pods that train."""

    resources: Resources = Resources()
    """What one training rank asks for; a pod asks for workersPerPod times as much."""
    gpu: Gpu = Gpu()
    """The accelerator of a training rank."""
    node_selector: NodeSelector = Field(default_factory=dict)
    """Nodes of the pool."""
    tolerations: Tolerations = ()
    """Taints of the pool."""
    workers_per_pod: Annotated[Integer, Field(ge=1, le=64)] = 1
    """Training ranks that share a pod."""


class Cache(Block):
    """Where pods of a node keep the batches that they have fetched."""

    size_limit: Quantity = "10Gi"
    """Most that the cache may hold."""
    host_path: Annotated[str, text(1024)] | None = None
    """Folder of the node, shared by all jobs; an emptyDir of the pod when left out."""


class TrainingProfileSpec(Block):
    """What the admin offers."""

    image: Image
    """Image of driver and workers, by digest."""
    driver: Driver = Driver()
    """The pod that is the job."""
    worker: Worker = Worker()
    """The pods that train."""
    cache: Cache = Cache()
    """Where pods of a node keep what they have fetched."""
    backend: Literal["Pods", "KubeRay"] = "Pods"
    """What runs Ray for jobs of this profile."""
    service_account_name: ResourceName = "default"
    """Service account of the pods; its token is not mounted."""
    priority_class_name: ResourceName | None = None
    """Priority class of the pods."""
    allowed_uri_prefixes: Annotated[tuple[UriPrefix, ...], Bounded(most=64, unique=True, ordered=False)] = ()
    """Beginnings of the URLs that datasets, code and outputs may have; every URL when left out."""
    allowed_secrets: Annotated[tuple[ResourceName, ...], Bounded(most=64, unique=True, ordered=False)] = ()
    """Secrets that a job may name; none when left out."""
    allowed_overrides: Annotated[tuple[Overridable, ...], Bounded(most=5, unique=True, ordered=False)] = ()
    """Fields of spec.cluster.overrides that a job may set; none when left out."""


class TrainingProfileStatus(StatusBlock):
    """Whether the profile can be used."""

    observed_generation: Generation | None = None
    """Generation of the spec that this status is about."""
    conditions: Conditions = ()
    """Ready."""


class TrainingProfile(Block):
    """Where training runs: image, node pool, resources, and what a job may override."""

    api_version: Literal["seedbed.dev/v1alpha1"]
    """Version of the language."""
    kind: Literal["TrainingProfile"]
    """Kind of the resource."""
    metadata: ObjectMeta
    """Name and labels."""
    spec: TrainingProfileSpec
    """What the admin offers."""
    status: TrainingProfileStatus | None = None
    """Whether the profile can be used."""
