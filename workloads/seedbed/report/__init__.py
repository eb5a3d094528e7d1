"""`report.html`: what a run did, for a person to read; self-contained."""

from seedbed.report.inputs import Attempt, EvaluationPoint, ReportInputs, SamplePrediction, TimeSpent
from seedbed.report.rendering import build_report

__all__ = ["Attempt", "EvaluationPoint", "ReportInputs", "SamplePrediction", "TimeSpent", "build_report"]
