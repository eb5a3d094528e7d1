"""TrainingProfile: the admin's description of where training runs, and of what a job may override."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.base_model import Block, Choice, StatusBlock
from seedbed_api.bounded_lists import BoundedList, ListRule
from seedbed_api.conditions import Conditions
from seedbed_api.execution_settings import OutputTrust, PullSecrets
from seedbed_api.object_metadata import ObjectMeta
from seedbed_api.pod_template import AllowedKeys, AllowedVariables, PodAnnotations, PodLabels, Variables
from seedbed_api.profile_access import AllowedNamespaces, MaxPerJob
from seedbed_api.scalar_types import (
    Bytes,
    Cpu,
    Generation,
    Image,
    Integer,
    Matches,
    ResourceName,
    Seconds,
    text,
)

Overridable = Literal[
    "image",
    "imagePullSecrets",
    "cpu",
    "memory",
    "workersPerPod",
    "serviceAccountName",
    "priorityClassName",
    "labels",
    "annotations",
    "env",
]
UriPrefix = Annotated[
    str,
    Matches(
        r"^[a-z][a-z0-9+.-]*://[^\x00-\x20\x7f]*$",
        1024,
        "must be the beginning of a URL",
        "write for example s3://datasets/",
    ),
]
UriPrefixes = Annotated[
    tuple[UriPrefix, ...],
    BoundedList(
        most=64,
        unique=True,
        ordered=False,
        rules=(
            ListRule(
                cel="self.all(prefix, !prefix.startsWith('pvc://'))",
                holds=lambda prefixes: not any(prefix.startswith("pvc://") for prefix in prefixes),
                problem="must not have pvc://",
                fix="list claims in allowedPersistentVolumeClaims",
            ),
        ),
    ),
]
Repository = Annotated[
    str,
    Matches(
        r"^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*/?$",
        512,
        "must be a registry or a repository without tag and digest",
        "write for example registry.example/team/ or registry.example/team/seedbed",
    ),
]
NodeSelector = Annotated[dict[str, Annotated[str, text(63)]], Field(max_length=32)]
Names = Annotated[tuple[ResourceName, ...], BoundedList(most=64, unique=True, ordered=False)]


class Toleration(Block):
    """A taint that pods of this profile bear, as in a Pod."""

    key: Annotated[str, text(317)] | None = None
    """Key of the taint. Default: every key."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How key and value are compared."""
    value: Annotated[str, text(63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Default: every effect."""
    toleration_seconds: Seconds | None = None
    """How long a NoExecute taint is tolerated."""


Tolerations = Annotated[tuple[Toleration, ...], BoundedList(most=32)]


class Resources(Block):
    """What one container asks for; memory is request and limit alike."""

    cpu: Cpu = "1"
    """CPU cores."""
    memory: Bytes = "2Gi"
    """Memory."""
    ephemeral_storage: Bytes | None = None
    """Local disk for logs, temporary files and an EmptyDir cache, request and limit alike. Default: no
    request, and as limit the sum of scratch.sizeLimit, cache.sizeLimit of an EmptyDir, and 1Gi for logs."""


class Driver(Block):
    """The pod that is the job; it never trains."""

    resources: Resources = Resources()
    """Requested resources."""
    node_selector: NodeSelector = Field(default_factory=dict)
    """Nodes that the driver may run on; they may differ from those of the workers."""
    tolerations: Tolerations = ()
    """Tolerations of the driver pod."""


class Gpu(Block):
    """The accelerator of a worker."""

    resource: Annotated[str, text(253)] = "nvidia.com/gpu"
    """Name of the extended resource."""
    count: Annotated[Integer, Field(ge=0, le=16)] = 0
    """Number per training rank; 0 trains on the CPU."""


class TopologySpread(Block):
    """How the worker pods of a job are spread over nodes, racks or zones."""

    mode: Literal["Preferred", "Required", "None"] = "Preferred"
    """Preferred spreads if possible, Required leaves a pod pending otherwise, None does not spread."""
    topology_key: Annotated[
        str,
        Matches(
            r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
            317,
            "must be the key of a node label",
            "write for example kubernetes.io/hostname",
        ),
    ] = "kubernetes.io/hostname"
    """Node label over whose values the pods are spread."""


class Worker(Block):
    """The worker pods."""

    resources: Resources = Resources()
    """Resources of one training rank; a pod requests workersPerPod times as much."""
    gpu: Gpu = Gpu()
    """The accelerator of a training rank."""
    node_selector: NodeSelector = Field(default_factory=dict)
    """Nodes of the pool."""
    tolerations: Tolerations = ()
    """Tolerations of the worker pods."""
    workers_per_pod: Annotated[Integer, Field(ge=1, le=64)] = 1
    """Training ranks that share a pod."""
    topology_spread: TopologySpread = TopologySpread()
    """Topology spread of the worker pods of a job."""


class HostPath(Block):
    """A folder of the node; the Pod Security levels baseline and restricted refuse it."""

    path: Annotated[
        str,
        Matches(
            r"^(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+$",
            1024,
            "must be an absolute path whose folders do not begin with a dot",
            "write for example /var/cache/images",
        ),
    ]
    """Absolute path; created if it does not exist. Pods mount the folder in it that has the name of their
    namespace, which is created with the mode of this one: user 1000 must be able to write there."""


class CacheClaim(Block):
    """A PersistentVolumeClaim that many pods may write."""

    claim_name: ResourceName
    """Name of the claim, in the namespace of the job."""


class Cache(Choice):
    """Where pods keep the batches that they have fetched; the content is checked whenever it is read."""

    members: ClassVar = {"HostPath": "host_path", "PersistentVolumeClaim": "persistent_volume_claim"}

    type: Literal["EmptyDir", "HostPath", "PersistentVolumeClaim"] = "EmptyDir"
    """EmptyDir lives as long as its pod, HostPath is shared by the jobs of a node that are of one namespace,
    PersistentVolumeClaim by all pods of a namespace."""
    size_limit: Bytes = "10Gi"
    """Largest size of the cache."""
    host_path: HostPath | None = None
    """The folder of the node."""
    persistent_volume_claim: CacheClaim | None = None
    """The claim."""


class Scratch(Block):
    """The folder /tmp of a pod; the rest of its file system is read-only."""

    size_limit: Bytes = "20Gi"
    """Largest size; the kubelet evicts a pod that writes more, which counts as a failed attempt."""


class Storage(Block):
    """The object store, where AWS_ENDPOINT_URL and AWS_DEFAULT_REGION of a job's Secret do not say otherwise;
    a CA of its own comes with the Secret, as ca.crt."""

    endpoint_url: (
        Annotated[
            str,
            Matches(
                r"^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?$",
                1024,
                "must be an http or https URL without user and query",
                "write for example https://s3.example.org:9000",
            ),
        ]
        | None
    ) = None
    """Endpoint of S3. Default: AWS."""
    region: (
        Annotated[
            str,
            Matches(
                r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63, "must be a region", "write for example eu-central-1"
            ),
        ]
        | None
    ) = None
    """Region of S3."""


class Allowed(Block):
    """Who may use a profile, and what jobs may name and override. A list that is left out allows nothing,
    except for namespaces and URLs."""

    allowed_namespaces: AllowedNamespaces | None = None
    """Namespaces whose jobs may use the profile; checked when an attempt starts. Default: all namespaces, but
    none where the profile grants a hostPath, a priority class, or a service account other than default;
    `selector: {}` allows every namespace of such a profile, too."""
    max_per_job: MaxPerJob = MaxPerJob()
    """The largest job; a larger one is refused, not cut."""
    allowed_uri_prefixes: UriPrefixes = ()
    """Allowed URL prefixes of datasets, code and outputs, in whole segments: s3://data allows s3://data/a
    and not s3://database. Default: every URL of S3, Google Cloud Storage, Azure, WebHDFS and HTTP. Paths
    inside the pod are never allowed; claims have their own list."""
    allowed_secrets: Names = ()
    """Secrets that a job may name."""
    allowed_persistent_volume_claims: Names = ()
    """Claims that a job may mount as pvc://claim/path; the claim of the output is writable."""
    output_trust: OutputTrust = "Own"
    """Value of spec.output.trust for jobs that do not set it: which stored results they reuse."""
    allowed_output_trusts: Annotated[
        tuple[Literal["Signed", "Store"], ...], BoundedList(most=2, unique=True, ordered=False)
    ] = ()
    """Values of spec.output.trust that a job may choose although they are weaker than outputTrust: Store is
    weaker than Signed, and Signed than Own. Stricter ones are always allowed."""
    allowed_overrides: Annotated[
        tuple[Overridable, ...], BoundedList(most=10, unique=True, ordered=False)
    ] = ()
    """Fields of spec.cluster.overrides that a job may set; the lists below limit the values of some."""
    allowed_images: Annotated[tuple[Repository, ...], BoundedList(most=64, unique=True, ordered=False)] = ()
    """Repositories of the images that a job may choose; one that ends in / allows all below it."""
    allowed_service_accounts: Names = ()
    """Service accounts that a job may choose."""
    allowed_priority_classes: Names = ()
    """Priority classes that a job may choose."""
    allowed_labels: AllowedKeys = ()
    """Keys of the labels that a job may add to its pods; one that ends in / allows its whole domain."""
    allowed_annotations: AllowedKeys = ()
    """Keys of the annotations that a job may add to its pods; one that ends in / allows its whole domain."""
    allowed_env: AllowedVariables = ()
    """Names of the environment variables that a job may set."""


class TrainingProfileSpec(Allowed):
    """What the admin offers."""

    image: Image
    """Image of driver and workers, by digest."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the image is pulled."""
    image_pull_secrets: PullSecrets = ()
    """Secrets with which the image is pulled, in the namespace of the job."""
    driver: Driver = Driver()
    """The driver pod."""
    worker: Worker = Worker()
    """The worker pods."""
    cache: Cache = Cache()
    """Cache for fetched and decoded data."""
    scratch: Scratch = Scratch()
    """Temporary files of a pod."""
    storage: Storage = Storage()
    """The object store."""
    signature_policy: SignaturePolicy | None = None
    """Whose signatures let jobs with output.trust Signed reuse finished runs that somebody else wrote into
    the store; keys are public. Default: nobody's, and Signed reuses no more than Own."""
    backend: Literal["Pods", "KubeRay"] = "Pods"
    """Backend that runs Ray for jobs of this profile."""
    service_account_name: ResourceName = "default"
    """Service account of the pods; its token is not mounted."""
    priority_class_name: ResourceName | None = None
    """Priority class of the pods."""
    runtime_class_name: ResourceName | None = None
    """Runtime class of the pods, for example nvidia."""
    labels: PodLabels = Field(default_factory=dict)
    """Labels of the pods."""
    annotations: PodAnnotations = Field(default_factory=dict)
    """Annotations of the pods."""
    env: Variables = ()
    """Environment variables of the containers, for example proxies."""


class TrainingProfileStatus(StatusBlock):
    """Whether the profile can be used."""

    observed_generation: Generation | None = None
    """Generation of the spec that this status describes."""
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
