"""Run tasks ahead in a few threads and yield their results in order; decoders release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_T = TypeVar("_T")


class OrderedExecutor(Iterator[_T], Generic[_T]):
    """Yields the results of tasks in their order; the first tasks start at once.

    At most `ahead` tasks are running or finished and not consumed. A task's exception is raised in place of
    its result and ends the iteration.
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
        """Cancel tasks that have not started and wait for the others."""
        self._tasks = iter(())
        self._pending.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        task = next(self._tasks, None)
        if task is not None:
            self._pending.append(self._pool.submit(task))
