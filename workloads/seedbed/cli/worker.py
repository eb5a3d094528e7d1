"""`seedbed worker`: the program of a worker pod; it is told everything by its environment."""

from __future__ import annotations

import os

import click


@click.command("worker")
def command() -> None:
    """Run a worker of one attempt in a pod. Everything is told by SEEDBED_* variables."""
    from seedbed.pods.init_process import exit_now, log_as_json_lines, log_encoder, supervise
    from seedbed.pods.termination_message import on_worker_exit

    spool = supervise(on_worker_exit, log_encoder(os.environ))
    log_as_json_lines()
    from seedbed.pods.ray_node import prepare_process

    prepare_process()
    from seedbed.pods.worker_pod import run_worker_pod

    exit_now(run_worker_pod(os.environ, spool))
