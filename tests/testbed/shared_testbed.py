"""The testbed of a session: the tiers that need a control plane use one after another, each as if it were new."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.eventually import NotSeen
from testbed.inventory import Inventory, remove_all_but, take_inventory
from testbed.kube import Refused
from testbed.testbeds import Testbed, check_means, running_testbed


class SharedTestbed:
    """Lends a testbed to one tier at a time; what a tier left is removed when the next one asks.

    One with real nodes is not lent again: they would take the pods of tests that want nodes in name only. Neither is one
    that does not answer or keeps something; a warning says what. The next tier gets a testbed of its own then.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self._running = ExitStack()
        self._lent: tuple[Testbed, Inventory] | None = None

    def lend(self, *, nodes: int) -> Testbed:
        """Return a testbed with so many real nodes and nothing of another tier; `ToolMissing` without the means."""
        check_means(nodes)
        if self._lent is None or not self._can_be_lent_again(*self._lent):
            self.close()
            self._start()
        assert self._lent is not None
        testbed, _ = self._lent
        for _ in range(nodes):
            testbed.add_node()
        return testbed

    def close(self) -> None:
        """End the testbed, if there is one."""
        self._lent = None
        self._running.close()

    def _start(self) -> None:
        self._started += 1
        folder = self._folder / str(self._started)
        testbed = self._running.enter_context(running_testbed(folder, keep=True))
        self._lent = testbed, take_inventory(testbed.kube)

    def _can_be_lent_again(self, testbed: Testbed, kept: Inventory) -> bool:
        """Remove what the last tier left; say whether the testbed is as it was when it started."""
        if testbed.nodes:
            return False
        try:
            remove_all_but(kept, testbed.kube)
        except (NotSeen, Refused, OSError) as problem:
            warnings.warn(f"the testbed is started anew: {problem}", stacklevel=1)
            return False
        return True


@contextmanager
def shared_by_tiers(folder: Path) -> Iterator[SharedTestbed]:
    """Share a testbed, started when the first tier asks, and end it."""
    shared = SharedTestbed(folder)
    try:
        yield shared
    finally:
        shared.close()
