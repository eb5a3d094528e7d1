"""All dashboards, and where they lie in the chart."""

from __future__ import annotations

from pathlib import Path

from dashboards import data, fleet, operator, sweep, training
from dashboards.grafana_panels import Dashboard, dashboard_json

FOLDER = Path(__file__).parents[1] / "seedbed/files/dashboards"
DASHBOARDS: tuple[Dashboard, ...] = (
    fleet.DASHBOARD,
    training.DASHBOARD,
    sweep.DASHBOARD,
    data.DASHBOARD,
    operator.DASHBOARD,
)


def generated() -> dict[Path, str]:
    """Return the text of every dashboard's file."""
    return {FOLDER / f"{page.uid.removeprefix('seedbed-')}.json": dashboard_json(page) for page in DASHBOARDS}
