"""Memory that threads use again and again."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt


class ThreadBuffer(threading.local):
    """One growing buffer per thread: the page faults of fresh memory cost as much as decoding or reading."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def at_least(self, size: int) -> npt.NDArray[np.uint8]:
        """Return the calling thread's buffer, of `size` bytes or more; its next call returns it again."""
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer
