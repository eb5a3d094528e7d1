"""Results of tasks in order, computed ahead by a few threads: decoders release the interpreter lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_T = TypeVar("_T")


class OrderedExecutor(Iterator[_T], Generic[_T]):
    """Gives the results of tasks in their order, beginning to work at once.

    At most `ahead` tasks are running or wait to be taken. A task's exception is raised where its result
    would have come; nothing comes after it.
    """

    def __init__(self, tasks: Iterable[Callable[[], _T]], *, threads: int, ahead: int) -> None:
        assert threads >= 1, threads
        assert ahead >= 1, ahead
        self._tasks = iter(tasks)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="seedbed-feed")
        self._pending: deque[Future[_T]] = deque()
        for _ in range(ahead):
            self._submit()

    def __next__(self) -> _T:
        if not self._pending:
            raise StopIteration
        try:
            result = self._pending.popleft().result()
        except BaseException:
            self.close()
            raise
        self._submit()
        return result

    def close(self) -> None:
        """Drop what has not begun and wait for what has."""
        self._tasks = iter(())
        self._pending.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        task = next(self._tasks, None)
        if task is not None:
            self._pending.append(self._pool.submit(task))
