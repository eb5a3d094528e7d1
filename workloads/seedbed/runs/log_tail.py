"""Going on with logs while they grow: no folder but those of their jobs is listed, no log read that ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from seedbed.runs.log_store import PodLog, list_logs, merge_logs
from seedbed.storage import Storage
from seedbed_api.errors import InfrastructureError


@dataclass(kw_only=True, slots=True)
class LogTail:
    """The logs of some jobs, each read as far as it was told."""

    output: Storage
    logs: list[PodLog]
    attempt: int | None = None
    """Of this attempt only."""
    pod: str | None = None
    """Of this pod only."""
    error: InfrastructureError | None = None
    """Why the last look may not have seen all; what it missed comes with a later one."""
    _finished: set[tuple[str, int, str]] = field(default_factory=set)
    """Keys of logs of earlier attempts that had nothing more to tell."""

    def read_new(self) -> Iterator[tuple[PodLog, str]]:
        """Yield what came since the last look, in the order of `merged`."""
        self.error = None
        try:
            self._list()
        except InfrastructureError as error:
            self.error = error
        growing = [log for log in self.logs if log.key not in self._finished]
        return merge_logs([(log, self._new_lines(log)) for log in growing])

    def _list(self) -> None:
        """Take in new pieces and pods; a job that was created since is another one."""
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
        told = list(self._lines(log))
        if told or self.error is not None or not self._has_a_successor(log):
            return told
        self._finished.add(log.key)
        return list(log.read_rest())

    def _lines(self, log: PodLog) -> Iterator[tuple[str, str]]:
        """Yield what a log tells now, up to where the store fails."""
        try:
            yield from log.read_new(self.output, last=False)
        except InfrastructureError as error:
            self.error = error
        except FileNotFoundError:
            self._finished.add(log.key)  # it was removed

    def _has_a_successor(self, log: PodLog) -> bool:
        """Say whether a later attempt speaks: it begins when the pods of the one before are gone."""
        return any(other.uid == log.uid and other.attempt > log.attempt for other in self.logs)
