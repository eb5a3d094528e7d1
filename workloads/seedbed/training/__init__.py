"""The training program: feed, leaves, tree, step, evaluation, checkpoint; the same on every machine."""
