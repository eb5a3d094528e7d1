"""`seedbed worker`: the program of a worker pod; it is told everything by its environment."""

from __future__ import annotations

import os
import sys

import click


@click.command("worker")
def command() -> None:
    """Run a worker of one attempt in a pod. Everything is told by SEEDBED_* variables."""
    from seedbed.runtime.pods.rays import before_ray

    before_ray()
    from seedbed.runtime.pods.serving import serve

    sys.exit(serve(os.environ))
