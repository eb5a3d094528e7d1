"""Recompute a run from its receipt, and find the first difference between two runs."""
