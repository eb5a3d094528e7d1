"""Environment class: pins hold arithmetic to one set of bits, a document names them, a probe checks."""

from seedbed.environment.arithmetic_probe import Probe, check_probe, run_probe
from seedbed.environment.environment_class import (
    differences,
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
from seedbed.environment.process_start import begin_pinned

__all__ = [
    "CPU_CLASS_VARIABLE",
    "THREADS_VARIABLE",
    "Probe",
    "assert_pinned",
    "begin_pinned",
    "check_probe",
    "default_cpu_class",
    "differences",
    "environment_class",
    "environment_document",
    "environment_name",
    "pin_environment",
    "pinned_threads",
    "pinned_variables",
    "run_probe",
]
