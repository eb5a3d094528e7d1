"""The children of one attempt, as they are sent."""

from __future__ import annotations

import json
from typing import Any

from seedbed_api.run_identity import ExpectedIdentity
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.pods_backend import PodsBackend
from seedbed_operator.job_observation import ProfileView
from support.operator.builders import (
    IMAGE,
    JobBuilder,
    a_profile,
    a_training_job,
)


def children(
    job: JobBuilder | None = None,
    profile: ProfileView | None = None,
    *,
    number: int = 1,
    driver_uid: str | None = None,
    workers: tuple[int, ...] = (0,),
    expected: ExpectedIdentity | None = None,
) -> dict[str, Any]:
    """Return the bodies of an attempt's children by name, as they are sent."""
    attempt = DesiredAttempt(
        number=number,
        driver_uid=driver_uid,
        workers=workers,
        image=IMAGE,
        expected=expected or ExpectedIdentity(),
    )
    made = PodsBackend().children((job or a_training_job()).build(), profile or a_profile(), attempt)
    return {create.name: json.loads(json.dumps(create.body)) for create in made}


def driver(**given: Any) -> dict[str, Any]:
    return dict(children(**given)["seedlings-1-driver"])


def worker(**given: Any) -> dict[str, Any]:
    return dict(children(**given)["seedlings-1-worker-0"])


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    entries = pod["spec"]["containers"][0]["env"]
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), "no variable is set twice"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}
