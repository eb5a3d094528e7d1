"""Starting a node of Ray: it has 30 s, which a busy machine may need, so it gets more than one try."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from seedbed.pods.init_process import end_children
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed_api.errors import InfrastructureError, SeedbedError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


def started(
    start: Callable[[], _T],
    *,
    tries: int,
    pause: float,
    stopping: threading.Event,
    clear: Callable[[], None] = end_children,
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
