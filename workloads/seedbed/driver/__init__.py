"""The driver of a run: resolve it, claim it, train it, show progress, finalize it."""
