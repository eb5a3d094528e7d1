"""Recompute a run from its receipt, and find where two runs part."""
