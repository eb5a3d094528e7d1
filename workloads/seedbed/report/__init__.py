"""HTML reports of runs and sweeps: `report.html`, one self-contained page."""

from seedbed.report.run_report import build_report
from seedbed.report.run_report_data import (
    AttemptRow,
    EvaluationPoint,
    ReportInputs,
    SamplePrediction,
    TimeSpent,
)
from seedbed.report.sweep_report import SweepInputs, build_sweep_report

__all__ = [
    "AttemptRow",
    "EvaluationPoint",
    "ReportInputs",
    "SamplePrediction",
    "SweepInputs",
    "TimeSpent",
    "build_report",
    "build_sweep_report",
]
