"""Logs in an output store: `logs/<uid>/<attempt>/<pod>/<piece>.log`.

The uid is that of the job's object in Kubernetes; `seedbed run` uses the identity of the run or sweep, and
the name that a driver pod would have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby

from seedbed.runs.attempt_claims import highest_attempt, read_claim
from seedbed.runs.run_folder import open_run, run_names
from seedbed.storage import Storage
from seedbed.storage.object_limits import LOG_PIECE
from seedbed_api.errors import UserError, refusal
from seedbed_api.json_log_lines import parse_log_line
from seedbed_api.pod_contract.paths import LOG_PIECE_PATH, job_logs_path

_POD = re.compile(r"(?P<job>.+)-\d+-(sweep-)?(driver|worker-\d+)")

_LEAST_DIGITS = 4
_DIGITS, _MOST_NAMES = 12, 8
"""Digits of a uid, and number of names, that a message shows."""


@dataclass(kw_only=True, slots=True)
class PodLog:
    """The log of one pod, read piece by piece; `read_new` continues where the call before ended."""

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
    def key(self) -> tuple[str, int, str]:
        """Return uid, attempt and pod, which identify a log in a store."""
        return self.uid, self.attempt, self.pod

    @property
    def job(self) -> str:
        """Return the name of the job."""
        match = _POD.fullmatch(self.pod)
        return match["job"] if match else self.pod

    def read_new(self, output: Storage, *, last: bool) -> Iterator[tuple[str, str]]:
        """Yield (time, line) of new lines; with `last` also an unfinished line at the end."""
        for path in self.pieces[self._piece :]:
            data = output.read(path, LOG_PIECE)
            self._rest += data[self._read :]
            self._read = len(data)
            *lines, self._rest = self._rest.split(b"\n")
            yield from map(self._timed, lines)
            if path != self.pieces[-1]:
                self._piece, self._read = self._piece + 1, 0
        if last:
            yield from self.read_rest()

    def read_rest(self) -> Iterator[tuple[str, str]]:
        """Yield an unfinished line at the end, if there is one."""
        if self._rest:
            yield self._timed(self._rest)
            self._rest = b""

    def _timed(self, line: bytes) -> tuple[str, str]:
        text = line.decode(errors="replace")
        self._time = str((parse_log_line(text) or {}).get("time", self._time))
        return self._time, text


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSelection:
    """Logs that match a name."""

    logs: list[PodLog]
    others: tuple[str, ...] = ()
    """First digits of the uids of older jobs of the same name, newest first."""


def list_logs(output: Storage, uid: str | None = None) -> list[PodLog]:
    """Return the logs of a store, or of one job of it, by job, attempt and pod."""
    found: dict[tuple[str, int, str], PodLog] = {}
    for match in filter(None, map(LOG_PIECE_PATH.fullmatch, output.list(job_logs_path(uid)))):
        key = match["uid"], int(match["attempt"]), match["pod"]
        log = found.setdefault(key, PodLog(uid=key[0], attempt=key[1], pod=key[2]))
        log.pieces.append(match[0])
    return [log for _, log in sorted(found.items())]


def select_logs(output: Storage, logs: Sequence[PodLog], named: str, *, attempt: int | None) -> LogSelection:
    """Return the logs of a run (by first digits), of a job's object (by uid) or of a job (by name).

    Of several jobs of a name it is the newest: one that was deleted and created again has another uid.
    """
    turns = _turns(output, named)
    mine = [log for log in logs if (log.uid, log.attempt) in turns]
    mine = mine or [log for log in logs if log.uid == named]
    others: tuple[str, ...] = ()
    if not mine:
        mine, others = _newest(output, [log for log in logs if log.job == named])
    mine = mine or _beginning(named, logs)
    kept = [log for log in mine if attempt in (None, log.attempt)]
    if kept:
        return LogSelection(logs=kept, others=others)
    problem = "has no log here" if attempt is None else f"has no log of attempt {attempt} here"
    fix = f"name one of this store: {_listed(logs)}"
    raise UserError("InvalidOption", refusal("RUN", named, problem, fix))


def _newest(output: Storage, logs: Sequence[PodLog]) -> tuple[list[PodLog], tuple[str, ...]]:
    """Return the logs of the job whose first line is the newest, and the uids of the others."""
    first = {log.uid: log for log in reversed(logs)}
    if len(first) < 2:
        return list(logs), ()
    newest, *others = sorted(first, key=lambda uid: _began(output, first[uid]), reverse=True)
    return [log for log in logs if log.uid == newest], tuple(uid[:_DIGITS] for uid in others)


def _began(output: Storage, log: PodLog) -> str:
    """Return the time of the first line that has one."""
    lines = output.read(log.pieces[0], LOG_PIECE).decode(errors="replace").splitlines()
    times = (str(fields["time"]) for line in lines if (fields := parse_log_line(line)) and "time" in fields)
    return next(times, "")


def _beginning(named: str, logs: Sequence[PodLog]) -> list[PodLog]:
    mine = [log for log in logs if _is_beginning(named, log.uid)]
    if len({log.uid for log in mine}) > 1:
        problem, fix = "begins the uids of several jobs", f"name one by more digits: {_listed(mine)}"
        raise UserError("InvalidOption", refusal("RUN", named, problem, fix))
    return mine


def _listed(logs: Sequence[PodLog]) -> str:
    names = sorted({f"{log.job} ({log.uid[:_DIGITS]})" for log in logs})
    return ", ".join(names[:_MOST_NAMES] + ["…"] * (len(names) > _MOST_NAMES)) or "none"


def _is_beginning(named: str, uid: str) -> bool:
    digits = named.removeprefix("sha256:")
    return len(digits) >= _LEAST_DIGITS and uid.startswith(digits)


def _turns(output: Storage, named: str) -> set[tuple[str, int]]:
    """Return (uid, attempt) of the logs of a run: from the claims' turns, else from the claims themselves."""
    digits = named.removeprefix("sha256:")
    if not re.fullmatch(rf"[0-9a-f]{{{_LEAST_DIGITS},64}}", digits):
        return set()
    turns = set()
    for name in sorted(name for name in run_names(output) if name.startswith(digits)):
        run = open_run(output, f"sha256:{name}")
        for number in range(1, highest_attempt(run) + 1):
            uid, _, turn = (read_claim(run, number).process.turn or f"{name}/{number}").partition("/")
            if turn.isdecimal():
                turns.add((uid, int(turn)))
    return turns


def read_in_order(output: Storage, logs: Sequence[PodLog], *, last: bool) -> Iterator[tuple[PodLog, str]]:
    """Yield all lines, attempt by attempt, those of its pods by time."""
    return merge_logs([(log, log.read_new(output, last=last)) for log in logs])


def merge_logs(streams: Iterable[tuple[PodLog, Iterable[tuple[str, str]]]]) -> Iterator[tuple[PodLog, str]]:
    """Yield the lines of several logs, attempt by attempt, by time."""
    by_attempt = sorted(streams, key=lambda stream: stream[0].attempt)
    for _, together in groupby(by_attempt, key=lambda stream: stream[0].attempt):
        labelled = [_labelled(log, lines) for log, lines in together]
        for _, log, line in merge(*labelled, key=lambda row: row[0]):
            yield log, line


def _labelled(log: PodLog, lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, PodLog, str]]:
    for time, line in lines:
        yield time, log, line
