"""The programs of pods, configured by environment variables alone.

The order of imports matters: the init process forks while the process is small, the driver listens
before it imports Ray, and Ray is imported with its variables set.
"""

from __future__ import annotations

import os

import click


@click.command("driver")
def driver_command() -> None:
    """Run the driver of one attempt in a pod, configured by SEEDBED_* variables."""
    from seedbed.pods.driver_endpoint import listen_early
    from seedbed.pods.init_process import exit_now, log_as_json_lines, log_encoder, supervise
    from seedbed.pods.termination_message import on_driver_exit

    spool = supervise(on_driver_exit, log_encoder(os.environ))
    listen_early(os.environ)
    log_as_json_lines()
    from seedbed.pods.ray_node import prepare_process

    prepare_process()
    from seedbed.pods.driver_pod import run_driver_pod, training_job_program
    from seedbed.sweeps.sweep_driver_pod import sweep_program

    exit_now(
        run_driver_pod(os.environ, spool, {"TrainingJob": training_job_program, "SweepJob": sweep_program})
    )


@click.command("worker")
def worker_command() -> None:
    """Run a worker of one attempt in a pod, configured by SEEDBED_* variables."""
    from seedbed.pods.init_process import exit_now, log_as_json_lines, log_encoder, supervise
    from seedbed.pods.termination_message import on_worker_exit

    spool = supervise(on_worker_exit, log_encoder(os.environ))
    log_as_json_lines()
    from seedbed.pods.ray_node import prepare_process

    prepare_process()
    from seedbed.pods.worker_pod import run_worker_pod

    exit_now(run_worker_pod(os.environ, spool))


@click.command("verifier")
def verifier_command() -> None:
    """Verify the receipt of a complete job in a pod, configured by SEEDBED_* variables."""
    from seedbed.pods.init_process import exit_now, log_as_json_lines, log_encoder, supervise

    supervise(lambda _number, _spool: None, log_encoder(os.environ))
    log_as_json_lines()
    from seedbed.replay.verifier_pod import run_verifier_pod

    exit_now(run_verifier_pod(os.environ))


@click.command("signature-uploader")
def signature_uploader_command() -> None:
    """Store the signature of a complete job in a pod, configured by SEEDBED_* variables."""
    from seedbed.pods.init_process import exit_now, log_as_json_lines, log_encoder, supervise

    supervise(lambda _number, _spool: None, log_encoder(os.environ))
    log_as_json_lines()
    from seedbed.replay.signature_uploader_pod import run_signature_uploader_pod

    exit_now(run_signature_uploader_pod(os.environ))
