"""Runs SweepJobs: a trial is one run, or one per fold, trained in segments from rung to rung.

Nothing here decides about a trial: `seedbed.search` does, from the evaluations in the run folders.
"""
