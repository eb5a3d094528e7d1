"""Why a job does not run: one module per family of causes, asked in the order in which they come about."""

from seedbed_operator.planning.diagnosis.explanation import Explanation

__all__ = ["Explanation"]
