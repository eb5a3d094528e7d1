"""Documents as people write them, and what kubectl makes of each: unit tests and a real API server use one table.

`TEXT` is the manifest with a place for each oddity; a case says what stands there, and whether `kubectl apply`
takes the document.
"""

from __future__ import annotations

from dataclasses import dataclass

TOP = "apiVersion: seedbed.dev/v1alpha1\nkind: TrainingJob\nmetadata:\n  name: odd\n"
SPEC = """spec:
  dataset: {uri: s3://data/x}
  model: {name: resnet18}
  training:
    steps: {steps}
    seed: {seed}
    batch: {globalSize: 8, microSize: 4}
    optimizer: {type: SGD, learningRate: {rate}}
    augmentation:
    - {type: Resize, resize: {size: 32}}
  output: {uri: s3://runs/x}
"""
AFTER = "  suspend: {suspend}\n"


@dataclass(frozen=True, kw_only=True)
class Written:
    """One way of writing the document, and whether kubectl takes it."""

    text: str
    taken: bool


def spec(*, steps: str = "6", seed: str = "1", rate: str = '"0.1"', suspend: str = "true", more: str = "") -> str:
    values = {"{steps}": steps, "{seed}": seed, "{rate}": rate, "{suspend}": suspend}
    text = SPEC + AFTER + more
    for place, value in values.items():
        text = text.replace(place, value)
    return text


def document(**values: str) -> str:
    return TOP + spec(**values)


def steps(text: str, *, taken: bool) -> Written:
    return Written(text=document(steps=text), taken=taken)


def rate(text: str, *, taken: bool) -> Written:
    return Written(text=document(rate=text), taken=taken)


def suspend(text: str, *, taken: bool) -> Written:
    return Written(text=document(suspend=text), taken=taken)
