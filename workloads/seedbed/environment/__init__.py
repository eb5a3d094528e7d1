"""Environment class of a run: pinned variables, the environment document, and the arithmetic probe."""

from seedbed.environment.arithmetic_probe import Probe, check_probe, run_probe
from seedbed.environment.environment_class import (
    document_differences,
    environment_class,
    environment_document,
    environment_name,
)
from seedbed.environment.environment_pins import (
    CPU_CLASS_VARIABLE,
    THREADS_VARIABLE,
    assert_pinned,
    default_cpu_class,
    pin_environment,
    pinned_threads,
    pinned_variables,
)
from seedbed.environment.process_start import restart_if_unpinned

__all__ = [
    "CPU_CLASS_VARIABLE",
    "THREADS_VARIABLE",
    "Probe",
    "assert_pinned",
    "check_probe",
    "default_cpu_class",
    "document_differences",
    "environment_class",
    "environment_document",
    "environment_name",
    "pin_environment",
    "pinned_threads",
    "pinned_variables",
    "restart_if_unpinned",
    "run_probe",
]
