"""The driver of a run on this machine: prepare, claim, train with Ray Train, show progress, conclude."""
