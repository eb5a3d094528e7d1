"""Running a SweepJob: trials are runs, advanced to the rungs that the search names, here or on Ray Tune.

Nothing here decides about a trial: `seedbed.search` does, from facts that run folders hold.
"""
