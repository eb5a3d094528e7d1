"""Dashboards: every panel says what it shows in which unit; every metric is one of the registry's, and is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import alerts
import metrics_reference
from chart.metric_names import families_in
from chart.rendering import CHART, MATRIX, Helm, HelmFailed, Json, job_network_policy, named, objects, of_kind
from dashboards.dashboard_files import DASHBOARDS
from dashboards.panel_builders import WIDTH, Dashboard, dashboard_json
from seedbed_api import metric_names as names
from seedbed_operator.backends.child_metadata import pod_labels
from seedbed_operator.backends.pods_backend import _DRIVER_PORTS
from support.operator.builders import a_training_job

each_page = pytest.mark.parametrize("page", DASHBOARDS, ids=lambda page: page.title)


def panels_of(page: Dashboard) -> list[Json]:
    """Return the panels of a dashboard as Grafana imports them, without headings."""
    return [panel for panel in json.loads(dashboard_json(page))["panels"] if panel["type"] != "row"]


@each_page
def test_every_panel_has_title_unit_and_description(page: Dashboard) -> None:
    panels = panels_of(page)
    assert len(panels) == len(list(page.panels)) >= 5
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
    titles = [(panel["title"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(titles)) == len(titles)


@each_page
def test_panels_lie_beside_each_other_within_the_width(page: Dashboard) -> None:
    places = [panel["gridPos"] for panel in json.loads(dashboard_json(page))["panels"]]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    cells = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(set(cells)) == len(cells)


@each_page
def test_rows_are_full(page: Dashboard) -> None:
    places = [panel["gridPos"] for panel in json.loads(dashboard_json(page))["panels"]]
    widths = {y: sum(p["w"] for p in places if p["y"] == y) for y in {p["y"] for p in places}}
    assert set(widths.values()) == {WIDTH}


@each_page
def test_grafana_adds_no_meaning_of_its_own(page: Dashboard) -> None:
    """Without limits it shows 80 of anything in red; a table that is asked for series shows one of them."""
    for panel, content in zip(page.panels, panels_of(page), strict=True):
        below, *limits = content["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert below["value"] is None
        assert [(limit["value"], limit["color"]) for limit in limits] == list(panel.style.limits)
        asked = {target.get("format", "") for target in content["targets"]}
        assert asked == ({"table"} if panel.kind == "table" else {""}), panel.title
        now = {target["instant"] for target in content["targets"]}
        assert now == {panel.kind not in ("lines", "stacked")}, panel.title


@each_page
def test_tables_and_bars_name_what_their_queries_bring(page: Dashboard) -> None:
    for panel, content in zip(page.panels, panels_of(page), strict=True):
        labels = set(re.findall(r"\w+", panel.queries[0].expr))
        if panel.kind == "table":
            assert set(panel.style.columns) <= labels
            assert set(panel.style.widths) <= set(panel.style.columns)
        if panel.kind == "bars":
            shown = content["fieldConfig"]["defaults"]["displayName"]
            assert set(re.findall(r"\.labels\.(\w+)", shown)) == set(
                re.findall(r"{{(\w+)}}", panel.queries[0].legend)
            )


def test_dashboards_lead_to_each_other_with_what_is_chosen() -> None:
    for page in DASHBOARDS:
        (link,) = json.loads(dashboard_json(page))["links"]
        assert (link["type"], link["tags"]) == ("dashboards", json.loads(dashboard_json(page))["tags"])
        assert link["includeVars"]
        assert link["keepTime"]
    uids = {page.uid for page in DASHBOARDS}
    leading = [panel for page in DASHBOARDS for panel in page.panels if panel.style.link]
    assert len(leading) == 1
    for panel in leading:
        variables = {variable["name"] for page in DASHBOARDS for variable in page.variables}
        assert set(re.findall(r"var-(\w+)", panel.style.link)) <= variables
        assert set(re.findall(r'"page", "([\w-]+)"', panel.queries[0].expr)) <= uids


@each_page
def test_datasource_and_choices_are_variables(page: Dashboard) -> None:
    content = json.loads(dashboard_json(page))
    variables = {variable["name"]: variable for variable in content["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    text = json.dumps([panel.get("targets") for panel in content["panels"]])
    used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval", "__range"}
    assert used <= set(variables)
    assert set(variables) - {"datasource"} <= used
    assert {panel["datasource"]["uid"] for panel in content["panels"] if "datasource" in panel} == {
        "${datasource}"
    }


FOR_ALERTS = (
    names.JOB_STALLED,
    names.JOB_ATTEMPT_START,
    names.JOB_END,
    names.JOB_ADVANCE,
    names.JOB_PROGRESS_DEADLINE,
    names.JOB_FAILURE,
    names.UNREADABLE,  # it has no series where nothing is odd
)
"""What no dashboard shows."""


def test_every_metric_is_in_the_registry_and_every_metric_is_shown() -> None:
    known = {family.name for family in names.FAMILIES}
    shown = {
        name
        for page in DASHBOARDS
        for panel in page.panels
        for query in panel.queries
        for name in families_in(query.expr)
    }
    assert shown <= known
    assert known - shown <= {family.name for family in FOR_ALERTS}


def test_the_page_of_the_docs_lists_every_metric_once() -> None:
    rows = re.findall(r"^\| `(seedbed_\w+)` \| (\w+) ", metrics_reference.rendered(), re.MULTILINE)
    assert sorted(rows) == sorted((family.name, family.kind) for family in names.FAMILIES)


def test_files_are_small_enough_for_a_configmap() -> None:
    folder = CHART / "files/dashboards"
    assert sum(path.stat().st_size for path in folder.glob("*.json")) < 900_000


MONITORED = MATRIX["jobs monitored, dashboards and alerts"]


def test_grafana_finds_the_dashboards_as_they_were_written(helm: Helm, tmp_path: Path) -> None:
    maps = of_kind(objects(helm.template(MONITORED, tmp_path)), "ConfigMap")
    found = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert found == {f"{page.uid}.json": json.loads(dashboard_json(page)) for page in DASHBOARDS}
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Training"}
    assert of_kind(objects(helm.template({}, tmp_path)), "ConfigMap") == []


def test_prometheus_finds_the_alerts_with_their_runbooks(helm: Helm, tmp_path: Path) -> None:
    (rule,) = of_kind(objects(helm.template(MONITORED, tmp_path)), "PrometheusRule")
    (group,) = rule["spec"]["groups"]
    assert [each["alert"] for each in group["rules"]] == [alert.name for alert in alerts.ALERTS]
    for each, alert in zip(group["rules"], alerts.ALERTS, strict=True):
        assert each["expr"] == alert.expr
        assert each["annotations"]["summary"] == alert.summary
        assert each["annotations"]["runbook_url"] == f"https://runbooks.example/{alert.runbook}.md"


def test_without_a_url_an_alert_names_the_file_of_its_runbook(helm: Helm, tmp_path: Path) -> None:
    values = {"metrics": {"alerts": {"enabled": True}}}
    (rule,) = of_kind(objects(helm.template(values, tmp_path)), "PrometheusRule")
    for each in rule["spec"]["groups"][0]["rules"]:
        assert "runbook_url" not in each["annotations"]
        assert (CHART.parents[1] / each["annotations"]["runbook"]).is_file()
    for no_url in ("docs/runbooks/", "https://runbooks.example"):
        values["metrics"]["alerts"]["runbooks"] = no_url
        with pytest.raises(HelmFailed, match="runbooks"):
            helm.template(values, tmp_path)


def test_prometheus_finds_the_drivers_by_what_the_operator_gives_them(helm: Helm, tmp_path: Path) -> None:
    found = objects(helm.template(MONITORED, tmp_path))
    monitor = named(found, "PodMonitor", "seedbed-drivers")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = pod_labels(a_training_job().build(), 1, "driver")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    job_label = endpoint["relabelings"][0]["sourceLabels"][0]
    assert job_label.removeprefix("__meta_kubernetes_pod_label_") in {
        re.sub(r"\W", "_", label) for label in labels
    }
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}
    assert endpoint["port"] in {port["name"] for port in _DRIVER_PORTS}
    policy = job_network_policy(found)
    assert policy is not None
    peers = [rule["from"] for rule in policy["ingress"] if rule.get("ports")]
    assert {"namespaceSelector": {}} in peers[0]
