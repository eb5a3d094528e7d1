"""The logs in an output store: `logs/<uid>/<attempt>/<pod>/<piece>.log`.

Pods leave them under the uid of their job's object; `seedbed run` under the digits of a run or sweep, in the
name that a driver pod would have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby

from seedbed.runs.attempts import highest_attempt, read_attempt
from seedbed.runs.folder import open_run
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal
from seedbed_api.loglines import parsed

_PIECE = re.compile(r"logs/(?P<uid>[^/]+)/(?P<attempt>\d+)/(?P<pod>[^/]+)/(?P<piece>\d+)\.log")
_POD = re.compile(r"(?P<job>.+)-\d+-(sweep-)?(driver|worker-\d+)")

_LEAST_DIGITS = 4
_DIGITS, _MOST_NAMES = 12, 8
"""How many of a uid, and of names, a message shows."""


@dataclass(kw_only=True, slots=True)
class PodLog:
    """The log of one pod, read piece by piece; `more` goes on where it stopped."""

    uid: str
    """Of the job's object; of a run or sweep on one machine the digits of its identity."""
    attempt: int
    pod: str
    pieces: list[str] = field(default_factory=list)
    _piece: int = 0
    _read: int = 0
    _rest: bytes = b""
    _time: str = ""

    @property
    def job(self) -> str:
        """Return the name of the job."""
        match = _POD.fullmatch(self.pod)
        return match["job"] if match else self.pod

    def more(self, output: Storage, *, last: bool) -> Iterator[tuple[str, str]]:
        """Yield (time, line) of what has come since; a line without an end only where nothing more comes."""
        for path in self.pieces[self._piece :]:
            data = output.read(path)
            self._rest += data[self._read :]
            self._read = len(data)
            *lines, self._rest = self._rest.split(b"\n")
            yield from map(self._told, lines)
            if path != self.pieces[-1]:
                self._piece, self._read = self._piece + 1, 0
        if last and self._rest:
            yield self._told(self._rest)
            self._rest = b""

    def _told(self, line: bytes) -> tuple[str, str]:
        text = line.decode(errors="replace")
        self._time = str((parsed(text) or {}).get("time", self._time))
        return self._time, text


def logs_of(output: Storage) -> list[PodLog]:
    """Return the logs of a store, by job, attempt and pod."""
    found: dict[tuple[str, int, str], PodLog] = {}
    for match in filter(None, map(_PIECE.fullmatch, output.list("logs"))):
        key = match["uid"], int(match["attempt"]), match["pod"]
        log = found.setdefault(key, PodLog(uid=key[0], attempt=key[1], pod=key[2]))
        log.pieces.append(match[0])
    return [log for _, log in sorted(found.items())]


def chosen(output: Storage, logs: Sequence[PodLog], named: str, *, attempt: int | None) -> list[PodLog]:
    """Return the logs of a run (by first digits), of a job's object (by uid) or of a job (by name)."""
    turns = _turns(output, named)
    mine = [log for log in logs if (log.uid, log.attempt) in turns]
    mine = mine or [log for log in logs if named in (log.uid, log.job)]
    mine = mine or [log for log in logs if _is_beginning(named, log.uid)]
    if len({log.uid for log in mine} - {uid for uid, _ in turns}) > 1:
        problem, fix = "is the name of several jobs", f"name one by uid or identity: {_listed(mine)}"
        raise UserError("InvalidOption", refusal("RUN", named, problem, fix))
    kept = [log for log in mine if attempt in (None, log.attempt)]
    if kept:
        return kept
    problem = "has no log here" if attempt is None else f"has no log of attempt {attempt} here"
    fix = f"name one of this store: {_listed(logs)}"
    raise UserError("InvalidOption", refusal("RUN", named, problem, fix))


def _listed(logs: Sequence[PodLog]) -> str:
    names = sorted({f"{log.job} ({log.uid[:_DIGITS]})" for log in logs})
    return ", ".join(names[:_MOST_NAMES] + ["…"] * (len(names) > _MOST_NAMES)) or "none"


def _is_beginning(named: str, uid: str) -> bool:
    digits = named.removeprefix("sha256:")
    return len(digits) >= _LEAST_DIGITS and uid.startswith(digits)


def _turns(output: Storage, named: str) -> set[tuple[str, int]]:
    """Return under which uid and attempt the logs of a run lie; without turns the claims of the run count."""
    digits = named.removeprefix("sha256:")
    if not re.fullmatch(rf"[0-9a-f]{{{_LEAST_DIGITS},64}}", digits):
        return set()
    names = {path.split("/")[1] for path in output.list("runs")}
    turns = set()
    for name in sorted(name for name in names if name.startswith(digits)):
        run = open_run(output, f"sha256:{name}")
        for number in range(1, highest_attempt(run) + 1):
            uid, _, turn = (read_attempt(run, number).process.turn or f"{name}/{number}").partition("/")
            if turn.isdecimal():
                turns.add((uid, int(turn)))
    return turns


def in_order(output: Storage, logs: Sequence[PodLog], *, last: bool) -> Iterator[tuple[PodLog, str]]:
    """Yield what has come since, attempt by attempt, the lines of its pods by their times."""
    for _, together in groupby(sorted(logs, key=lambda log: log.attempt), key=lambda log: log.attempt):
        streams = [_told_by(log, output, last=last) for log in together]
        for _, log, line in merge(*streams, key=lambda told: told[0]):
            yield log, line


def _told_by(log: PodLog, output: Storage, *, last: bool) -> Iterator[tuple[str, PodLog, str]]:
    for time, line in log.more(output, last=last):
        yield time, log, line
