"""Decisions of a sweep: which trials to run, prune and rank. No Ray, no torch, no clock, no I/O.

Learning curves of runs go in, decided trials come out. A proposal is a function of seed and index, a pruning
verdict one of trials of lower index, so the result depends neither on parallelism nor on timing.
"""

from __future__ import annotations

from seedbed.search.learning_curve import Failed, Finished, LearningCurve, Undecided
from seedbed.search.search_space import Assignments
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialState, TrialTask

__all__ = [
    "Assignments",
    "DecidedTrial",
    "EndReason",
    "Failed",
    "Finished",
    "LearningCurve",
    "Search",
    "SweepEnd",
    "TrialState",
    "TrialTask",
    "Undecided",
]
