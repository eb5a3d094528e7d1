"""State in memory per job, and collection of the evidence that a plan requests: progress, logs, events."""
