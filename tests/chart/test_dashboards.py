"""Dashboards: every panel says what it shows in which unit; every metric is one of the registry's, and is shown."""

from __future__ import annotations

import json
import re

import pytest

from chart.rendering import CHART, Json
from dashboards.building import WIDTH, Page, rendered
from dashboards.pages import PAGES
from seedbed_api import metrics as names

_NAME = re.compile(r"\bseedbed_[a-z_]+\b")
_ENDINGS = ("_bucket", "_sum", "_count")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.title)


def families_in(text: str) -> set[str]:
    """Return the metrics that an expression names, histograms by the name of the whole."""
    found = set(_NAME.findall(text))
    whole = {family.name for family in names.FAMILIES if family.kind == "histogram"}
    return {
        next((name for name in whole if each in {name + end for end in _ENDINGS}), each) for each in found
    }


@each_page
def test_every_panel_has_title_unit_and_description(page: Page) -> None:
    content: Json = json.loads(rendered(page))
    panels = [panel for panel in content["panels"] if panel["type"] != "row"]
    assert len(panels) == len(list(page.panels)) >= 5
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
    titles = [(panel["title"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(titles)) == len(titles)


@each_page
def test_panels_lie_beside_each_other_within_the_width(page: Page) -> None:
    places = [panel["gridPos"] for panel in json.loads(rendered(page))["panels"]]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    cells = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(set(cells)) == len(cells)


@each_page
def test_datasource_and_choices_are_variables(page: Page) -> None:
    content = json.loads(rendered(page))
    variables = {variable["name"]: variable for variable in content["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    text = json.dumps([panel.get("targets") for panel in content["panels"]])
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval", "__range"}
    assert used <= set(variables)
    assert set(variables) - {"datasource"} <= used
    assert {panel["datasource"]["uid"] for panel in content["panels"] if "datasource" in panel} == {
        "${datasource}"
    }


def test_every_metric_is_in_the_registry_and_every_metric_is_shown() -> None:
    known = {family.name for family in names.FAMILIES}
    shown = {
        name
        for page in PAGES
        for panel in page.panels
        for query in panel.queries
        for name in families_in(query.expr)
    }
    assert shown <= known
    assert known - shown <= {names.JOB_STALLED.name, names.JOB_ATTEMPT_START.name, names.JOB_END.name}, (
        "for alerts"
    )


def test_files_are_small_enough_for_a_configmap() -> None:
    folder = CHART / "files/dashboards"
    assert sum(path.stat().st_size for path in folder.glob("*.json")) < 900_000
