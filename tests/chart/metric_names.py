"""Metric families that a PromQL expression names."""

from __future__ import annotations

import re

from seedbed_api import metric_names as names

_NAME = re.compile(r"\bseedbed_[a-z_]+\b")

_ENDINGS = ("_bucket", "_sum", "_count")


def families_in(text: str) -> set[str]:
    """Return the metrics that an expression names, histograms by the name of the whole."""
    found = set(_NAME.findall(text))
    whole = {family.name for family in names.FAMILIES if family.kind == "histogram"}
    return {
        next((name for name in whole if each in {name + end for end in _ENDINGS}), each) for each in found
    }
