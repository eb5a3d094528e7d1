"""The chart: rendered, and on a real API server."""
