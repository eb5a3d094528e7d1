"""Settings of a Ray in pods, of the driver's node and of the workers'; read by Ray when it is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from seedbed.runtime.ray_local import SETTINGS

_OTHERWISE = {
    "RAY_AUTH_MODE": "token",
    # nodes see each other by their own addresses
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    # a node that says nothing is gone after some 40 s, not after more than a minute; one that is busy is not
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_enable_metrics_collection": "0",
}
CLAIMS_FOLDER = "/mnt/pvc"
_OF_ONE_MACHINE = {"GLOO_SOCKET_IFNAME"}


def prepare(environ: MutableMapping[str, str]) -> None:
    """Set what Ray reads at import and at start; which interface gloo takes is told by the pod."""
    for name, value in SETTINGS.items():
        if name not in _OTHERWISE and name not in _OF_ONE_MACHINE:
            environ.setdefault(name, value)
    environ.update(_OTHERWISE)


def before_ray() -> None:
    """Pin and prepare this process, whose children Ray's processes will be."""
    from seedbed.environment.pins import pin_environment
    from seedbed.storage.urls import CLAIMS_VARIABLE

    pin_environment(os.environ)
    prepare(os.environ)
    os.environ.setdefault(CLAIMS_VARIABLE, CLAIMS_FOLDER)
