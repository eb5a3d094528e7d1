"""Blocks of a TrainingProfile that say which namespaces may use it, and how large a job may be."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList
from seedbed_api.bounded_maps import BoundedMap
from seedbed_api.pod_template import LabelValue
from seedbed_api.scalar_types import Bytes, Count, Cpu, Integer, Label, Matches

_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LabelKey = Annotated[
    str,
    Matches(
        _LABEL_KEY,
        317,
        "must be the key of a label",
        "write for example kubernetes.io/metadata.name",
    ),
]
MatchLabels = Annotated[
    dict[str, LabelValue],
    BoundedMap(
        most=32,
        pattern=_LABEL_KEY,
        problem="must have keys like those of labels: a name, or a domain, a slash and a name",
        fix="write for example example.org/team",
    ),
]
NamespaceNames = Annotated[tuple[Label, ...], BoundedList(most=256, unique=True, ordered=False)]


class LabelSelectorRequirement(Block):
    """A condition on one label."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="values",
            cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            holds=lambda block: (block.operator in ("In", "NotIn")) == bool(block.values),
            problem="is needed with In and NotIn, and only allowed with them",
            fix="list the values, or remove them",
        ),
    )

    key: LabelKey
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared."""
    values: Annotated[tuple[LabelValue, ...], BoundedList(most=64, unique=True, ordered=False)] = ()
    """Values for In and NotIn."""


class LabelSelector(Block):
    """A label selector of Kubernetes: all its conditions must hold; an empty one selects everything."""

    match_labels: MatchLabels = Field(default_factory=dict)
    """Labels with exactly these values."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], BoundedList(most=32)] = ()
    """Further conditions."""


class AllowedNamespaces(Block):
    """Namespaces by name or by label; each that is listed or selected is allowed."""

    names: NamespaceNames = ()
    """Names of namespaces."""
    selector: LabelSelector | None = None
    """Selects namespaces by their labels; {} selects all of them. Default: none."""


class MaxPerJob(Block):
    """The largest job of a profile: its driver and all workers that it may have at the same time."""

    workers: Annotated[Integer, Field(ge=1, le=4096)] | None = None
    """Training ranks: cluster.workers.max, of a SweepJob parallelTrialCount times workersPerTrial.
    Default: no limit."""
    cpu: Cpu | None = None
    """Requested CPU cores of the driver and the worker pods. Default: no limit."""
    memory: Bytes | None = None
    """Memory of the driver and the worker pods. Default: no limit."""
    gpus: Count | None = None
    """GPUs of the worker pods. Default: no limit."""
