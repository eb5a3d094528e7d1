"""What `benchmarks/sweep.py` measures: each program is a process of its own that prints one line of JSON."""
