"""Queries of dashboard panels with values for their variables."""

from __future__ import annotations

from dashboards.dashboard_files import DASHBOARDS

CHOSEN = {"$namespace": ".*", "$job": ".*", "$sweep": ".*", "$__rate_interval": "10m", "$__range": "10m"}


def queries() -> dict[str, str]:
    """Return the queries of all dashboards as they are with everything chosen, by dashboard, panel and place."""
    return {
        f"{page.title}: {panel.title} {place}": chosen(query.expr)
        for page in DASHBOARDS
        for panel in page.panels
        for place, query in enumerate(panel.queries)
    }


def chosen(expression: str) -> str:
    """Return a query with all namespaces and jobs chosen, over the last minutes."""
    for variable, value in CHOSEN.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression
