"""A Ray node in a pod: variables that Ray reads at import, and the start with retries."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, MutableMapping
from typing import TypeVar

from seedbed.pods.init_process import kill_children
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.ray_cluster.local_ray import SETTINGS
from seedbed.startup.ray_environment import clean_environment
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.pod_contract import env_vars, paths

_POD_SETTINGS = {
    env_vars.RAY_AUTH_MODE: env_vars.CONSTANTS[env_vars.RAY_AUTH_MODE],
    # nodes see each other by their own addresses
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    # a node that says nothing is gone after some 40 s, not after more than a minute; one that is busy is not
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_enable_metrics_collection": "0",
}
_ONE_MACHINE_SETTINGS = {env_vars.GLOO_INTERFACE}
_KEPT_VARIABLES = r"RAY_(AUTH_TOKEN|AUTH_MODE|BACKEND_LOG_LEVEL|[a-z].*)|GLOO_.*"
"""What the operator or a profile sets: the job's token, the interface, how Ray's daemons behave."""


def set_ray_variables(environ: MutableMapping[str, str]) -> None:
    """Set what Ray reads at import and at start; which interface gloo takes is told by the pod."""
    settings = {name: value for name, value in SETTINGS.items() if name not in _ONE_MACHINE_SETTINGS}
    clean_environment(environ, settings | _POD_SETTINGS, kept=_KEPT_VARIABLES)


def prepare_process() -> None:
    """Pin and prepare this process, whose children Ray's processes will be."""
    from seedbed.environment.environment_pins import pin_environment

    pin_environment(os.environ)
    set_ray_variables(os.environ)
    os.environ.setdefault(env_vars.CLAIMS_FOLDER, paths.CLAIMS)


logger = logging.getLogger(__name__)

_T = TypeVar("_T")


def start_with_retries(
    start: Callable[[], _T],
    *,
    tries: int,
    pause: float,
    stopping: threading.Event,
    clear: Callable[[], None] = kill_children,
) -> _T:
    """Return what `start` returns; half a node that a failed try leaves behind is cleared before the next.

    Raises `StopRequested`, or `InfrastructureError` after the last try; a SeedbedError makes a try the last.
    """
    for left in reversed(range(tries)):
        if stopping.is_set():
            raise StopRequested
        try:
            return start()
        except SeedbedError:  # it knows that another try is of no use
            clear()
            raise
        except Exception as error:  # Ray raises bare ones
            reason = " ".join(str(error).split())[:300]
            clear()
            if not left:
                break
            logger.warning("Ray did not start: %s; trying again", reason)
            stopping.wait(pause)
    fix = "the attempt is repeated; if that does not help, give the pod more CPU and memory"
    raise InfrastructureError("RayStartFailed", f"Ray did not start: {reason}; {fix}")
