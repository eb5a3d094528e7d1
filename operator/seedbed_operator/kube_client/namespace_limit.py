"""Limit of requests at a time, of each namespace and of all: a webhook that hangs stalls its own alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

NAMESPACES_AT_ONCE: Final = 4
"""So many namespaces may use their whole limit before others wait for them."""


class NamespaceLimit:
    """Semaphores by namespace; those that nobody uses are forgotten."""

    def __init__(self, each: int) -> None:
        """`each` is the most in one namespace."""
        self._each = each
        self._all = asyncio.Semaphore(each * NAMESPACES_AT_ONCE)
        self._of: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._of)

    @asynccontextmanager
    async def hold(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a place, first in the namespace, and hold it."""
        mine = self._of.setdefault(namespace, asyncio.Semaphore(self._each))
        self._users[namespace] += 1
        try:
            async with mine, self._all:
                yield
        finally:
            self._users[namespace] -= 1
            if not self._users[namespace]:
                del self._users[namespace], self._of[namespace]
