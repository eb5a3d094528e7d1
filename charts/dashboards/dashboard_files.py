"""All dashboards, and where they lie in the chart."""

from __future__ import annotations

from pathlib import Path

from dashboards import (
    data_dashboard,
    fleet_dashboard,
    operator_dashboard,
    sweep_dashboard,
    training_dashboard,
)
from dashboards.panel_builders import Dashboard, dashboard_json

FOLDER = Path(__file__).parents[1] / "seedbed/files/dashboards"
DASHBOARDS: tuple[Dashboard, ...] = (
    fleet_dashboard.DASHBOARD,
    training_dashboard.DASHBOARD,
    sweep_dashboard.DASHBOARD,
    data_dashboard.DASHBOARD,
    operator_dashboard.DASHBOARD,
)


def generated() -> dict[Path, str]:
    """Return the text of every dashboard's file."""
    return {FOLDER / f"{page.uid.removeprefix('seedbed-')}.json": dashboard_json(page) for page in DASHBOARDS}
