"""The table of changes of a job that the models and the API server must judge alike."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as filled
from typing import Any

from support.manifests.base_manifests import DIGEST, Case

CODE = {"spec.model": {"entrypoint": "mine.net:Net", "code": {"uri": "s3://code/a.whl"}}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Two manifests of one object, and the field that may not change so."""

    before: dict[str, Any] = filled(default_factory=dict)
    after: dict[str, Any] = filled(default_factory=dict)
    field: str | None = None
    kind: str = "TrainingJob"

    def old(self) -> dict[str, Any]:
        """Return the manifest as it was."""
        return Case(kind=self.kind, change=self.before).manifest()

    def new(self) -> dict[str, Any]:
        """Return the manifest as it is to become."""
        return Case(kind=self.kind, change=self.before | self.after).manifest()


SUSPENDED = {"spec.suspend": True}
MOVED = {"spec.dataset.uri": "s3://mirror/small"}

MOVED_TEMPLATE = {"spec.trialTemplate.spec.dataset.uri": "s3://mirror/small"}


def sweep(**fields: Any) -> Change:
    """Return a change of a SweepJob."""
    return Change(kind="SweepJob", **fields)


WEIGHTS = {"spec.model.weights": {"uri": "s3://models/a.pt", "digest": DIGEST}}
MOVED_WEIGHTS = {"spec.model.weights": {"uri": "s3://models/b.pt", "digest": DIGEST}}

CHANGES: dict[str, Change] = {
    "nothing": Change(),
    "more workers": Change(after={"spec.cluster": {"workers": {"max": 4}}}),
    "suspending": Change(after=SUSPENDED),
    "resuming": Change(before=SUSPENDED, after={"spec.suspend": False}),
    "another limit": Change(after={"spec.backoffLimit": 7}),
    "another seed": Change(after={"spec.training.seed": 1}, field="spec.training"),
    "another seed while suspended": Change(
        before=SUSPENDED, after={"spec.training.seed": 1}, field="spec.training"
    ),
    "another model": Change(after={"spec.model.name": "resnet18"}, field="spec.model.name"),
    "another evaluation": Change(after={"spec.evaluation": {"everySteps": 5}}, field="spec.evaluation"),
    "a pin": Change(after={"spec.dataset.digest": DIGEST}, field="spec.dataset.digest"),
    "a smaller subset": Change(
        after={"spec.dataset.subset": {"fraction": "0.5"}}, field="spec.dataset.subset"
    ),
    "moving the dataset": Change(after=MOVED, field="spec.dataset.uri"),
    "moving the dataset while suspended": Change(before=SUSPENDED, after=MOVED),
    "moving the dataset and resuming at once": Change(
        before=SUSPENDED, after={**MOVED, "spec.suspend": False}
    ),
    "moving the dataset and suspending at once": Change(
        after={**MOVED, **SUSPENDED}, field="spec.dataset.uri"
    ),
    "another reader": Change(after={"spec.dataset.secretRef": {"name": "b"}}, field="spec.dataset.secretRef"),
    "another reader while suspended": Change(
        before=SUSPENDED, after={"spec.dataset.secretRef": {"name": "b"}}
    ),
    "another output": Change(after={"spec.output.uri": "s3://elsewhere"}, field="spec.output"),
    "another output while suspended": Change(before=SUSPENDED, after={"spec.output.uri": "s3://elsewhere"}),
    "another profile": Change(after={"spec.cluster": {"profile": "big"}}, field="spec.cluster.profile"),
    "moving the code": Change(
        before=CODE,
        after={"spec.model": {"entrypoint": "mine.net:Net", "code": {"uri": "s3://code/b.whl"}}},
        field="spec.model.code.uri",
    ),
    "moving the code while suspended": Change(
        before={**CODE, **SUSPENDED},
        after={"spec.model": {"entrypoint": "mine.net:Net", "code": {"uri": "s3://code/b.whl"}}},
    ),
    "taking the code away": Change(
        before=CODE, after={"spec.model": {"entrypoint": "mine.net:Net"}}, field="spec.model.code"
    ),
    "moving the weights": Change(before=WEIGHTS, after=MOVED_WEIGHTS, field="spec.model.weights.uri"),
    "moving the weights while suspended": Change(before={**WEIGHTS, **SUSPENDED}, after=MOVED_WEIGHTS),
    "other weights while suspended": Change(
        before={**WEIGHTS, **SUSPENDED},
        after={"spec.model.weights": {"uri": "s3://models/a.pt", "digest": "sha256:" + "2" * 64}},
        field="spec.model.weights.digest",
    ),
    "a run for a file while suspended": Change(
        before={**WEIGHTS, **SUSPENDED},
        after={"spec.model.weights": {"run": "0123abcd", "digest": DIGEST}},
    ),
    "taking the weights away": Change(
        before={**WEIGHTS, **SUSPENDED},
        after={"spec.model": {"name": "simple-cnn"}},
        field="spec.model.weights",
    ),
    "another manager": Change(after={"spec.managedBy": "other.dev/operator"}, field="spec.managedBy"),
    "more trials at a time": sweep(after={"spec.parallelTrialCount": 4, "spec.workersPerTrial": 2}),
    "more trials": sweep(after={"spec.maxTrialCount": 11}, field="spec.maxTrialCount"),
    "a target": sweep(after={"spec.objective.target": "0.9"}, field="spec.objective"),
    "another seed of a template": sweep(
        after={"spec.trialTemplate.spec.training.seed": 1}, field="spec.trialTemplate.spec.training"
    ),
    "moving the dataset of a sweep": sweep(after=MOVED_TEMPLATE, field="spec.trialTemplate.spec.dataset.uri"),
    "moving the dataset of a suspended sweep": sweep(before=SUSPENDED, after=MOVED_TEMPLATE),
    "another output of a sweep": sweep(after={"spec.output.uri": "s3://elsewhere"}, field="spec.output"),
}
