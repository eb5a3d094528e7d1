"""`seedbed worker`: the program of a worker pod; it is told everything by its environment."""

from __future__ import annotations

import os

import click


@click.command("worker")
def command() -> None:
    """Run a worker of one attempt in a pod. Everything is told by SEEDBED_* variables."""
    from seedbed.pods.init_process import end, log_as_records, recorder_of, supervise
    from seedbed.pods.termination_message import worker_ended

    spool = supervise(worker_ended, recorder_of(os.environ))
    log_as_records()
    from seedbed.pods.ray_node import before_ray

    before_ray()
    from seedbed.pods.worker_pod import serve

    end(serve(os.environ, spool))
