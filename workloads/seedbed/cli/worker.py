"""`seedbed worker`: the program of a worker pod; it is told everything by its environment."""

from __future__ import annotations

import os

import click


@click.command("worker")
def command() -> None:
    """Run a worker of one attempt in a pod. Everything is told by SEEDBED_* variables."""
    from seedbed.runtime.pods.lastwords import worker_ended
    from seedbed.runtime.pods.records import log_as_records, recorder_of
    from seedbed.runtime.pods.supervising import end, supervise

    spool = supervise(worker_ended, recorder_of(os.environ))
    log_as_records()
    from seedbed.runtime.pods.rays import before_ray

    before_ray()
    from seedbed.runtime.pods.serving import serve

    end(serve(os.environ, spool))
