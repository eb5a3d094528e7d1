"""The pure heart of sweeps: what to try, what to end early, what won. No Ray, no torch, no clock, no I/O.

Facts about runs go in (`courses`), decisions come out (`decisions`); a proposal is a function of seed and
index, a verdict one of trials of lower index, so that neither parallelism nor timing can show.
"""

from __future__ import annotations

from seedbed.search.courses import Course, Failed, Finished, Undecided
from seedbed.search.decisions import Decided, Ended, State, Task, Why
from seedbed.search.points import Point
from seedbed.search.searching import Search

__all__ = [
    "Course",
    "Decided",
    "Ended",
    "Failed",
    "Finished",
    "Point",
    "Search",
    "State",
    "Task",
    "Undecided",
    "Why",
]
