"""What a kubelet tells of a pod today is what the unit tests have recorded of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.pod_recordings import PLACE, SITUATIONS, recorded
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = pytest.mark.e2e


def essence(pod: Json) -> dict[str, Any]:
    """Return phase and states of the containers, without moments and ids; two words for one failing pull are one."""
    status = pod["status"]
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return {"phase": status["phase"], **{each["name"]: _state(each) for each in every}}


def _state(status: Json) -> list[Any]:
    ((name, state),) = status["state"].items()
    reason = {"ImagePullBackOff": "ErrImagePull"}.get(state.get("reason", ""), state.get("reason"))
    return [name, reason, state.get("exitCode"), status.get("started")]


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_recorded_pod_is_still_told_of_in_the_same_way(
    testbed: Testbed, pod_namespace: str, name: str
) -> None:
    known = json.loads((PLACE / f"{name}.json").read_text())
    assert essence(recorded(testbed, pod_namespace, name)) == essence(known)
