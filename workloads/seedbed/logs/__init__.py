"""Logs of runs: JSON lines, the local log of a run, output of Ray workers, truncation, upload."""
