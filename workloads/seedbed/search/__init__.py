"""The pure heart of sweeps: what to try, what to end early, what won. No Ray, no torch, no clock, no I/O.

Facts about runs go in (`courses`), decisions come out (`decisions`); a proposal is a function of seed and
index, a verdict one of trials of lower index, so that neither parallelism nor timing can show.
"""

from __future__ import annotations

from seedbed.search.learning_curve import Course, Failed, Finished, Undecided
from seedbed.search.search_space import Point
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import Decided, Ended, State, Task, Why

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
