"""Execution settings of a spec: output, checkpoints, cluster, lifecycle. They change no bit of the model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList
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
PullSecrets = Annotated[tuple[ResourceName, ...], BoundedList(most=8, unique=True, ordered=False)]
WorkerCount = Annotated[Integer, Field(ge=1, le=4096)]


OutputTrust = Literal["Own", "Signed", "Store"]


class Output(Block):
    """Output store for runs: checkpoints, models, receipts."""

    rules: ClassVar[tuple[Rule, ...]] = URI_RULES

    uri: Uri
    """Folder of runs: any fsspec URL, pvc://claim/path, or for seedbed run a local path."""
    secret_ref: SecretRef | None = None
    """Secret with the credentials for writing: known keys, mounted as files."""
    trust: OutputTrust | None = None
    """Which stored results, checkpoints and records are reused. Own: those that jobs of this namespace wrote,
    or this user by seedbed run. Signed: also finished runs with a signature of an accepted signer. Store: all
    whose parts agree with each other. Default: outputTrust of the profile; Own for seedbed run."""


class Checkpoint(Block):
    """How often the state is kept."""

    every_steps: Steps = 200
    """Steps between two checkpoints; a crash costs at most as many."""
    keep: Annotated[Integer, Field(ge=1, le=1000)] = 3
    """Number of newest checkpoints to keep; the best one by modelSelection is always kept."""


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
    """Fewest ranks with which the job trains."""
    max: WorkerCount = 1
    """Most ranks; at most the number of leaves."""


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
    """TrainingProfile with image, node pool and resources; seedbed run needs none."""
    workers: Workers = Workers()
    """Number of training ranks; an edit takes effect with the next attempt."""
    feed: Literal["Auto", "RayData", "Local"] = "Auto"
    """Where images are decoded: in tasks of Ray Data, or in threads of the worker. The bits are the same."""
    overrides: Overrides | None = None
    """Settings that replace those of the profile, if the profile allows it."""


class Lifecycle(Block):
    """Limits and retries, as in a Job of Kubernetes."""

    suspend: Flag = False
    """Stop after the current step with a checkpoint, and delete all pods."""
    backoff_limit: Annotated[Integer, Field(ge=0, le=1000)] = 3
    """Number of failed attempts that are retried, with growing pauses. Preemptions do not count;
    infrastructure failures count only if several in a row make no checkpoint."""
    active_deadline_seconds: Seconds | None = None
    """Longest time that the job may be active, including time without room or quota. The timer restarts
    when the job is resumed, and stops while a queue holds all of its pods."""
    pre_running_deadline_seconds: Seconds = 900
    """Longest time from the start of an attempt to its first step."""
    progress_deadline_seconds: Seconds = 600
    """Longest time without a step; after it the attempt counts as hung and is retried."""
    ttl_seconds_after_finished: Annotated[Integer, Field(ge=0, le=31_536_000)] | None = None
    """Time from the end of the job to the deletion of the object; the output stays."""
    managed_by: Manager = OPERATOR
    """Controller of the object; the operator ignores objects of other controllers. Immutable."""


class Execution(Lifecycle):
    """Everything of a TrainingJob that is no recipe."""

    output: Output
    """Output store for runs: checkpoints, models, receipts. It may change while the job is suspended."""
    checkpoint: Checkpoint = Checkpoint()
    """Interval and number of checkpoints; it never changes a bit."""
    cluster: Cluster = Cluster()
    """Machines and number of workers; it never changes a bit of the model within one environment class."""


def shards_of_busiest_worker(leaves: int, workers: int) -> int:
    """Return the most logical shards of a worker; they decide how long a step takes."""
    return -(-leaves // workers)


def useful_worker_count(leaves: int, workers: int) -> int:
    """Return the smallest number of workers that is as fast as `workers`."""
    return shards_of_busiest_worker(leaves, shards_of_busiest_worker(leaves, workers))
