"""Follows logs while they grow. It lists only the folders of their jobs and reads no finished log again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seedbed.runs.log_store import PodLog, list_logs, merge_logs
from seedbed.storage import Storage
from seedbed_api.errors import InfrastructureError


@dataclass(kw_only=True, slots=True)
class LogTail:
    """The logs of some jobs, each with its read position."""

    output: Storage
    logs: list[PodLog]
    attempt: int | None = None
    """Follow only this attempt."""
    pod: str | None = None
    """Follow only this pod."""
    error: InfrastructureError | None = None
    """Error of the last call, after which lines may be missing; a later call returns them."""
    _finished: set[tuple[str, int, str]] = field(default_factory=set)
    """Keys of logs of earlier attempts that have ended."""

    def read_new(self) -> Iterator[tuple[PodLog, str]]:
        """Yield the lines since the last call, in the order of `merge_logs`."""
        self.error = None
        try:
            self._list()
        except InfrastructureError as error:
            self.error = error
        growing = [log for log in self.logs if log.key not in self._finished]
        return merge_logs([(log, self._new_lines(log)) for log in growing])

    def _list(self) -> None:
        """Find new pieces and pods; jobs created meanwhile are not followed."""
        known = {log.key: log for log in self.logs}
        for uid in {log.uid for log in self.logs}:
            for log in list_logs(self.output, uid):
                if self.attempt in (None, log.attempt) and self.pod in (None, log.pod):
                    self._take_in(known.setdefault(log.key, log), log.pieces)
        self.logs = list(known.values())

    def _take_in(self, log: PodLog, pieces: list[str]) -> None:
        if log.pieces != pieces:
            log.pieces = pieces
            self._finished.discard(log.key)

    def _new_lines(self, log: PodLog) -> list[tuple[str, str]]:
        lines = list(self._lines(log))
        if lines or self.error is not None or not self._has_successor(log):
            return lines
        self._finished.add(log.key)
        return list(log.read_rest())

    def _lines(self, log: PodLog) -> Iterator[tuple[str, str]]:
        """Yield the new lines of a log, up to an error of the store."""
        try:
            yield from log.read_new(self.output, last=False)
        except InfrastructureError as error:
            self.error = error
        except FileNotFoundError:
            self._finished.add(log.key)  # it was removed

    def _has_successor(self, log: PodLog) -> bool:
        """Say whether a later attempt has a log: it starts when the pods of the one before are gone."""
        return any(other.uid == log.uid and other.attempt > log.attempt for other in self.logs)
