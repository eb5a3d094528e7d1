"""`python -m seedbed.cli`: run the command line as a module."""

from __future__ import annotations

from seedbed.cli import main

main()
