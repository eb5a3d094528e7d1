"""`report.html`: what a run or a sweep did, for a person to read; self-contained."""

from seedbed.report.inputs import Attempt, EvaluationPoint, ReportInputs, SamplePrediction, TimeSpent
from seedbed.report.rendering import build_report
from seedbed.report.sweep_inputs import SweepInputs
from seedbed.report.sweep_rendering import build_sweep_report

__all__ = [
    "Attempt",
    "EvaluationPoint",
    "ReportInputs",
    "SamplePrediction",
    "SweepInputs",
    "TimeSpent",
    "build_report",
    "build_sweep_report",
]
