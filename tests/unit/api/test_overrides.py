"""`--set path=value`."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import training_job
from seedbed_api.overrides import apply_overrides
from support.manifests.base_manifests import TRAINING_JOB

JOB = {
    **TRAINING_JOB,
    "spec": {
        **TRAINING_JOB["spec"],
        "model": {"name": "simple-cnn", "args": [{"name": "width", "value": "32"}]},
        "training": {
            **TRAINING_JOB["spec"]["training"],
            "augmentation": [{"type": "Resize", "resize": {"size": 64}}, {"type": "HorizontalFlip"}],
        },
    },
}

ASSIGNMENTS: dict[str, tuple[str, Any]] = {
    "a number": ("spec.training.epochs=7", lambda job: job.spec.training.epochs == 7),
    "a fraction": (
        "spec.training.optimizer.learningRate=0.5",
        lambda job: job.spec.training.optimizer.learning_rate == "0.5",
    ),
    "a fraction in quotes": (
        'spec.training.optimizer.learningRate="5e-1"',
        lambda job: job.spec.training.optimizer.learning_rate == "0.5",
    ),
    "a flag": ("spec.suspend=true", lambda job: job.spec.suspend is True),
    "a word": ("spec.model.name=resnet18", lambda job: job.spec.model.name == "resnet18"),
    "a value with an equals sign": (
        "spec.output.uri=s3://runs?a=b",
        lambda job: job.spec.output.uri == "s3://runs?a=b",
    ),
    "a block that is not there": (
        "spec.cluster.workers.max=2",
        lambda job: job.spec.cluster.workers.max == 2,
    ),
    "a block at once": (
        "spec.cluster={workers: {max: 3}, feed: Local}",
        lambda job: job.spec.cluster.workers.max == 3 and job.spec.cluster.feed == "Local",
    ),
    "an entry by index": (
        "spec.training.augmentation[0].resize.size=32",
        lambda job: job.spec.training.augmentation[0].resize.size == 32,
    ),
    "a whole entry": (
        "spec.training.augmentation[1]={type: VerticalFlip}",
        lambda job: job.spec.training.augmentation[1].type == "VerticalFlip",
    ),
    "an entry by key": ("spec.model.args[width].value=48", lambda job: job.spec.model.args[0].value == "48"),
    "a new entry by key": (
        "spec.model.args[depth].value=4",
        lambda job: (
            [(arg.name, arg.value) for arg in job.spec.model.args] == [("depth", "4"), ("width", "32")]
        ),
    ),
    "a list at once": ("spec.model.args=[]", lambda job: job.spec.model.args == ()),
    "nothing": ("spec.model.args=null", lambda job: job.spec.model.args == ()),
    "a name": ("metadata.name=other", lambda job: job.metadata.name == "other"),
    "a label": ("metadata.labels={team: a}", lambda job: job.metadata.labels == {"team": "a"}),
}


@pytest.mark.parametrize(("assignment", "holds"), ASSIGNMENTS.values(), ids=ASSIGNMENTS)
def test_an_assignment_reaches_the_job(assignment: str, holds: Any) -> None:
    assert not holds(training_job(copy.deepcopy(JOB)))
    assert holds(training_job(apply_overrides(JOB, [assignment])))


def test_the_document_itself_is_left_alone_and_the_last_assignment_wins() -> None:
    before = copy.deepcopy(JOB)
    changed = apply_overrides(JOB, ["spec.training.epochs=7", "spec.training.epochs=8"])
    assert changed["spec"]["training"]["epochs"] == 8
    assert before == JOB


def test_epochs_can_be_exchanged_for_steps() -> None:
    job = training_job(apply_overrides(JOB, ["spec.training.epochs=null", "spec.training.steps=9"]))
    assert (job.spec.training.epochs, job.spec.training.steps) == (None, 9)


WRONG = {
    "no equals sign": (
        "spec.training.epochs",
        "--set: must be path=value (got 'spec.training.epochs'); write for example spec.training.epochs=3",
    ),
    "a misspelt path": (
        "spec.training.optimiser.learningRate=1",
        "--set: is not a field (got 'spec.training.optimiser.learningRate'); "
        "did you mean spec.training.optimizer.learningRate?",
    ),
    "a path without spec": (
        "training.epochs=1",
        "--set: is not a field (got 'training.epochs'); did you mean spec.training.epochs?",
    ),
    "a path below a number": (
        "spec.training.epochs.first=1",
        "--set: is not a field (got 'spec.training.epochs.first'); did you mean spec.training.epochs?",
    ),
    "an entry that is not there": (
        "spec.training.augmentation[2].type=Mixup",
        "--set: names no entry 2 of augmentation (got 'spec.training.augmentation[2].type'); "
        "it has 2 entries, counted from 0",
    ),
    "an entry by a key that the list does not have": (
        "spec.training.augmentation[Resize].type=Mixup",
        "--set: names no entry Resize of augmentation (got 'spec.training.augmentation[Resize].type'); "
        "it has 2 entries, counted from 0",
    ),
    "an empty path": ("=1", "--set: is not a field (got ''); known are"),
    "a whole entry by key": (
        "spec.model.args[width]=1",
        "--set: names no entry width of args (got 'spec.model.args[width]'); it has 1 entries, counted from 0",
    ),
    "an entry of an entry": (
        "spec.model.args[0][1]=1",
        "--set: is not a field (got 'spec.model.args[0][1]'); did you mean spec.model.args[0]?",
    ),
    "an entry of a list that is not written": (
        "spec.training.normalization.mean[0]=1",
        "--set: names no entry 0 of mean (got 'spec.training.normalization.mean[0]'); "
        "it has 0 entries, counted from 0",
    ),
}


@pytest.mark.parametrize(("assignment", "line"), WRONG.values(), ids=WRONG)
def test_a_wrong_assignment_is_one_line(assignment: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_overrides(JOB, [assignment])
    assert caught.value.reason == "InvalidSpec"
    assert caught.value.message.startswith(line)
