"""All dashboards, and where they lie in the chart."""

from __future__ import annotations

from pathlib import Path

from dashboards import data, fleet, operator, sweep, training
from dashboards.building import Page, rendered

FOLDER = Path(__file__).parents[1] / "seedbed/files/dashboards"
PAGES: tuple[Page, ...] = (fleet.PAGE, training.PAGE, sweep.PAGE, data.PAGE, operator.PAGE)


def generated() -> dict[Path, str]:
    """Return the text of every dashboard's file."""
    return {FOLDER / f"{page.uid.removeprefix('seedbed-')}.json": rendered(page) for page in PAGES}
