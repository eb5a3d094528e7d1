"""A Ray node in a pod: the variables that Ray reads at import, and its start with retries."""

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
    # nodes reach each other by their own addresses
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    # a silent node is declared dead after about 40 s instead of more than a minute; a busy one is not
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_enable_metrics_collection": "0",
}
_ONE_MACHINE_SETTINGS = {env_vars.GLOO_INTERFACE}
_PRESERVED_VARIABLES = r"RAY_(AUTH_TOKEN|AUTH_MODE|BACKEND_LOG_LEVEL|[a-z].*)|GLOO_.*"
"""Variables that operator or profile set: the token, the network interface, settings of Ray's daemons."""


def set_ray_variables(environ: MutableMapping[str, str]) -> None:
    """Set the variables that Ray reads at import and at start; the pod sets the interface of gloo."""
    settings = {name: value for name, value in SETTINGS.items() if name not in _ONE_MACHINE_SETTINGS}
    clean_environment(environ, settings | _POD_SETTINGS, preserved=_PRESERVED_VARIABLES)


def prepare_process() -> None:
    """Pin the environment of this process and set Ray's variables, which Ray's processes inherit."""
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
    """Return what `start` returns; processes that a failed try leaves behind are killed before the next.

    Raises `StopRequested`, or `InfrastructureError` after the last try; a SeedbedError ends the tries.
    """
    for left in reversed(range(tries)):
        if stopping.is_set():
            raise StopRequested
        try:
            return start()
        except SeedbedError:  # another try would not help
            clear()
            raise
        except Exception as error:  # Ray raises plain exceptions
            reason = " ".join(str(error).split())[:300]
            clear()
            if not left:
                break
            logger.warning("Ray did not start: %s; trying again", reason)
            stopping.wait(pause)
    fix = "the attempt is repeated; if that does not help, give the pod more CPU and memory"
    raise InfrastructureError("RayStartFailed", f"Ray did not start: {reason}; {fix}")
