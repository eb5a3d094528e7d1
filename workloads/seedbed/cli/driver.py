"""`seedbed driver`: the program of a driver pod; it is told everything by its environment."""

from __future__ import annotations

import os

import click


@click.command("driver")
def command() -> None:
    """Run the driver of one attempt in a pod. Everything is told by SEEDBED_* variables."""
    from seedbed.pods.driver_endpoint import listen_early
    from seedbed.pods.init_process import end, log_as_records, recorder_of, supervise
    from seedbed.pods.termination_message import driver_ended

    spool = supervise(driver_ended, recorder_of(os.environ))
    listen_early(os.environ)
    log_as_records()
    from seedbed.pods.ray_node import before_ray

    before_ray()
    from seedbed.pods.driver_pod import drive, training
    from seedbed.sweeps.sweep_driver_pod import sweep_program

    end(drive(os.environ, spool, {"TrainingJob": training, "SweepJob": sweep_program}))
