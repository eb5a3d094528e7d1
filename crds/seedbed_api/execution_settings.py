"""Execution: what may change without changing a bit of the model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import Bounded
from seedbed_api.pod_template import PodAnnotations, PodLabels, Variables
from seedbed_api.recipe import SecretRef
from seedbed_api.scalar_types import (
    Bytes,
    Cpu,
    Flag,
    Image,
    Integer,
    Matches,
    ResourceName,
    Seconds,
    Steps,
    Uri,
)
from seedbed_api.uri_validation import URI_RULES

Manager = Annotated[
    str,
    Matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$",
        63,
        "must be a domain, a slash and a name",
        "write for example seedbed.dev/operator",
    ),
]
OPERATOR = "seedbed.dev/operator"
PullSecrets = Annotated[tuple[ResourceName, ...], Bounded(most=8, unique=True, ordered=False)]
WorkerCount = Annotated[Integer, Field(ge=1, le=4096)]


class Output(Block):
    """Where runs are kept: checkpoints, models, receipts."""

    rules: ClassVar[tuple[Rule, ...]] = URI_RULES

    uri: Uri
    """Folder of runs: any fsspec URL, pvc://claim/path, or for a run on this machine a path."""
    secret_ref: SecretRef | None = None
    """Secret with the credentials to write it: known keys, mounted as files for this role only."""


class Checkpoint(Block):
    """How often the state is kept."""

    every_steps: Steps = 200
    """Steps between two checkpoints; a kill costs at most as many."""
    keep: Annotated[Integer, Field(ge=1, le=1000)] = 3
    """How many of the newest checkpoints stay; the best one by modelSelection always stays."""


class Workers(Block):
    """How many training ranks may work at the same time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="min",
            cel="self.min <= self.max",
            holds=lambda workers: workers.min <= workers.max,
            problem="must not be more than max",
            fix="exchange or correct the two",
        ),
    )

    min: WorkerCount = 1
    """Fewest ranks with which training goes on."""
    max: WorkerCount = 1
    """Most ranks; at most the number of logical shards."""


class Overrides(Block):
    """What a job sets in place of the profile: only what its allowedOverrides name, and of that
    only what its lists of images, service accounts, priority classes, Secrets, keys and variables hold."""

    image: Image | None = None
    """Image of driver and workers, by digest, from a repository in the profile's allowedImages."""
    image_pull_secrets: PullSecrets = ()
    """Secrets with which the image is pulled; names in the profile's allowedSecrets."""
    cpu: Cpu | None = None
    """CPU cores of a training rank."""
    memory: Bytes | None = None
    """Memory of a training rank."""
    workers_per_pod: Annotated[Integer, Field(ge=1, le=64)] | None = None
    """Training ranks that share a pod."""
    service_account_name: ResourceName | None = None
    """Service account of the pods, one of the profile's allowedServiceAccounts; its token is not mounted."""
    priority_class_name: ResourceName | None = None
    """Priority class of the pods, one of the profile's allowedPriorityClasses."""
    labels: PodLabels = Field(default_factory=dict)
    """Labels added to the pods; keys in the profile's allowedLabels."""
    annotations: PodAnnotations = Field(default_factory=dict)
    """Annotations added to the pods; keys in the profile's allowedAnnotations."""
    env: Variables = ()
    """Environment variables added to the containers; names in the profile's allowedEnv."""


class Cluster(Block):
    """On which machines, and with how many workers."""

    profile: ResourceName = "default"
    """TrainingProfile that describes image, node pool and resources; a run on this machine needs none."""
    workers: Workers = Workers()
    """How many training ranks may work at the same time; an edit counts from the next attempt on."""
    feed: Literal["Auto", "RayData", "Local"] = "Auto"
    """Who decodes images: tasks of Ray Data, or threads inside the worker; the same bits either way."""
    overrides: Overrides | None = None
    """What the job sets in place of the profile, as far as the profile allows it."""


class Lifecycle(Block):
    """Limits and retries, as in a Job of Kubernetes."""

    suspend: Flag = False
    """Stop after a checkpoint at the end of the current step, and give all machines back."""
    backoff_limit: Annotated[Integer, Field(ge=0, le=1000)] = 3
    """Failed attempts that are retried, with growing pauses; one more, and the job fails. Preemptions do not
    count, failures of the infrastructure only where several in a row make no checkpoint."""
    active_deadline_seconds: Seconds | None = None
    """Longest time that the job may be active, waiting for room or quota included. The timer restarts when
    the job is resumed; while a queue holds all of its pods, it stands."""
    pre_running_deadline_seconds: Seconds = 900
    """Longest time from the start of an attempt to its first step."""
    progress_deadline_seconds: Seconds = 600
    """Longest time without a step; then the attempt is hung and is retried."""
    ttl_seconds_after_finished: Annotated[Integer, Field(ge=0, le=31_536_000)] | None = None
    """Time after its end at which the object is deleted; what it wrote stays."""
    managed_by: Manager = OPERATOR
    """Which controller takes care of the object; the operator leaves those of others alone. Immutable."""


class Execution(Lifecycle):
    """Everything of a TrainingJob that is no recipe."""

    output: Output
    """Where runs are kept: checkpoints, models, receipts. It may change while the job is suspended."""
    checkpoint: Checkpoint = Checkpoint()
    """How often the state is kept; it never changes a bit."""
    cluster: Cluster = Cluster()
    """On which machines, and with how many workers; it never changes a bit of the model within one
    environment class."""
