"""Work in a process that is ended afterwards: what it had to import stays out of this one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from seedbed.ray_cluster.cluster_interface import P, T
from seedbed_api.errors import InfrastructureError


class ChildProcess:
    """A process of this machine, for the time of one call."""

    def run_task(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it there; failures arrive as they are. Raises InfrastructureError if the process is lost."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_heed_no_ctrl_c) as pool:
            try:
                return pool.submit(work, *args, **kwargs).result()
            except BrokenProcessPool as error:
                problem = "a process that looks at this machine was ended from outside; was memory short?"
                raise InfrastructureError("DriverCrashed", problem) from error


def _heed_no_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
