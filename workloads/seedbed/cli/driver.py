"""`seedbed driver`: the program of a driver pod; it is told everything by its environment."""

from __future__ import annotations

import os

import click


@click.command("driver")
def command() -> None:
    """Run the driver of one attempt in a pod. Everything is told by SEEDBED_* variables."""
    from seedbed.runtime.pods.lastwords import driver_ended
    from seedbed.runtime.pods.listening import listen_early
    from seedbed.runtime.pods.records import log_as_records, recorder_of
    from seedbed.runtime.pods.supervising import end, supervise

    spool = supervise(driver_ended, recorder_of(os.environ))
    listen_early(os.environ)
    log_as_records()
    from seedbed.runtime.pods.rays import before_ray

    before_ray()
    from seedbed.runtime.pods.driving import drive, training
    from seedbed.sweeps.pods import searching

    end(drive(os.environ, spool, {"TrainingJob": training, "SweepJob": searching}))
