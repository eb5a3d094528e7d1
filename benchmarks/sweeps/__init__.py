"""The programs that `benchmarks/sweep.py` measures: each is a process that prints one line of JSON."""
