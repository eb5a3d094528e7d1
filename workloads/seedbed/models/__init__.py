"""The built-in networks and the check of what a network may contain; torch and the standard library only."""
