"""Cache of parsed values, bounded by the size of what they were parsed from; any thread may use it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ParseCache(Generic[K, V]):
    """Least recently used values; one that is larger than a quarter of all is not kept."""

    def __init__(self, most: int) -> None:
        """`most` bounds the sum of the sizes."""
        self._largest = most // 4
        self._values: MutableMapping[K, tuple[int, V]] = LRUCache(most, getsizeof=lambda entry: entry[0])
        self._lock = Lock()

    def get(self, key: K, size: int, parse: Callable[[], V]) -> V:
        """Return the value of a key, parsed if it is not known."""
        with self._lock:
            known = self._values.get(key)
        if known is not None:
            return known[1]
        value = parse()
        if size <= self._largest:
            with self._lock:
                self._values[key] = size + 1, value
        return value
