"""Pin this process like the run that it verifies, before torch is imported."""

from __future__ import annotations

import os

from seedbed.driver.job_locations import leave_deleted_working_directory, set_absolute_variables
from seedbed.environment.environment_pins import CPU_CLASSES, pin_environment
from seedbed.environment.process_start import restart_as_cpu_class
from seedbed.replay.receipt_location import LocatedReceipt


def pin_like_the_run(located: LocatedReceipt) -> None:
    """Take the CPU class and threads of the run's environment, if they are known; a command may restart."""
    from seedbed.replay.stored_integrity import stored_environment

    set_absolute_variables(os.environ)
    leave_deleted_working_directory()
    recorded = None if located.folder is None else stored_environment(located.folder, located.receipt.decided)
    if recorded is not None and recorded["cpu"]["class"] in CPU_CLASSES:
        restart_as_cpu_class(recorded["cpu"]["class"], threads=recorded["cpu"]["threads"])
    else:
        pin_environment(os.environ)
