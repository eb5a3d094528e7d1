"""A process that fuzzes one target: `python -m support.fuzz.fuzz_process TARGET CASES SEED`.

It prints one JSON line of counts. A crash, a case above its time, or more memory than allowed ends it with the
input in base64.
"""

from __future__ import annotations

import base64
import json
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random

from seedbed_api.errors import SeedbedError
from support.fuzz.targets import TARGETS, Target

SECONDS_PER_CASE = 20
"""CPU time: a case that waits for a busy machine is not slow."""
MOST_WAIT_SECONDS = 1800
"""Wall time: a case that waits longer waits for ever."""
MOST_LINE = 2_000
GROWTH_BYTES = 1 << 30
"""How much address space the cases may take above that of the process when they begin."""


class TooSlow(BaseException):
    """A case took longer than it may; no handler of the reader catches it."""


def main(name: str, cases: int, seed: int) -> int:
    """Run the cases; return 1 where one of them failed."""
    warnings.simplefilter("ignore")
    target, random = TARGETS[name](), Random(seed)
    for _ in range(20):  # what is imported and cached at the first use is no growth
        _outcome(target, target.make(random))
    before = _virtual_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (before + GROWTH_BYTES, before + GROWTH_BYTES))
    signal.signal(signal.SIGPROF, _too_slow)
    signal.signal(signal.SIGALRM, _too_slow)
    counts, slowest = {"read": 0, "refused": 0}, 0.0
    for case in range(cases):
        data = target.make(random)
        begun = time.process_time()
        _limit(SECONDS_PER_CASE, MOST_WAIT_SECONDS)
        try:
            counts[_outcome(target, data)] += 1
        except BaseException:
            print(f"case {case} of {name}, seed {seed}: {base64.b64encode(data).decode()[:20_000]}")
            traceback.print_exc()
            return 1
        finally:
            _limit(0, 0)
        slowest = max(slowest, time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    cpu = {"slowest_seconds": round(slowest, 3), "cpu_seconds": round(time.process_time())}
    print(json.dumps({"target": name, **counts, **cpu, "peak_mib": peak}))
    return 0


def _outcome(target: Target, data: bytes) -> str:
    try:
        target.read(data)
    except target.refusals as refused:
        error = refused
    else:
        return "read"
    text = error.message if isinstance(error, SeedbedError) else ""
    assert text.count("\n") < target.lines, f"an error of several lines: {text!r}"
    assert all(len(line) < MOST_LINE for line in text.splitlines()), "a line is longer than anybody reads"
    return "refused"


def _virtual_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _limit(cpu_seconds: float, seconds: int) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.alarm(seconds)


def _too_slow(*_: object) -> None:
    raise TooSlow


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
