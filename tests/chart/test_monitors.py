"""What the Prometheus operator would make of the chart's monitors is a configuration that Prometheus accepts."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest

from chart.rendering import Helm, Json, job_network_policy, objects
from seedbed_api import metric_names as names
from support.monitoring.prometheus_pod import configuration, hurried, watched_values
from testbed.monitors import scrape_configs
from testbed.prometheus import program

MONITORS = ("PodMonitor", "ServiceMonitor")


@pytest.fixture
def rendered(helm4: Helm, tmp_path: Path) -> list[Json]:
    """Return the chart with everything switched on that is about observing."""
    return objects(helm4.template(watched_values({"profiles": {}}), tmp_path))


@pytest.fixture
def promtool() -> str:
    return program("promtool")


def monitors(rendered: list[Json]) -> list[Json]:
    return [thing for thing in rendered if thing["kind"] in MONITORS]


def checked(promtool: str, folder: Path, settings: Json) -> subprocess.CompletedProcess[str]:
    file = folder / "prometheus.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    command = [promtool, "check", "config", "--syntax-only", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_prometheus_accepts_it(rendered: list[Json], promtool: str, tmp_path: Path) -> None:
    settings = configuration(monitors(rendered))
    assert len(settings["scrape_configs"]) == 3
    done = checked(promtool, tmp_path, settings)
    assert done.returncode == 0, done.stdout + done.stderr
    settings["scrape_configs"][0]["relabel_configs"][0]["action"] = "keepp"
    assert checked(promtool, tmp_path, settings).returncode != 0


DRIVERS = ("seedbed_training_", "seedbed_dataset_", "seedbed_sweep_")


def kept(config: Json, name: str) -> bool:
    """Tell whether Prometheus keeps a metric: it matches whole names."""
    rules = [rule for rule in config["metric_relabel_configs"] if rule["action"] == "keep"]
    assert [rule["source_labels"] for rule in rules] == [["__name__"]]
    return all(re.fullmatch(rule["regex"], name) for rule in rules)


def test_a_driver_tells_of_its_training_and_the_operator_of_itself_and_of_jobs(rendered: list[Json]) -> None:
    """What runs beside a user's code cannot say that an operator leads, nor fill Prometheus."""
    for monitor in monitors(rendered):
        (config,) = scrape_configs(monitor)
        of_drivers = monitor["metadata"]["name"].endswith("-drivers")
        for family in names.FAMILIES:
            assert kept(config, family.name) == (family.name.startswith(DRIVERS) == of_drivers), family.name
        assert not kept(config, "somebody_elses_metric")
        assert config.get("sample_limit") == (5000 if of_drivers else None)
        assert len(max((family.labels for family in names.FAMILIES), key=len)) < config["label_limit"] / 2


def test_a_field_that_monitors_do_not_have_is_refused(rendered: list[Json]) -> None:
    for monitor in map(copy.deepcopy, monitors(rendered)):
        endpoints = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
        endpoints[0]["honourLabels"] = True
        with pytest.raises(AssertionError, match="honourLabels"):
            configuration([monitor])


def test_rules_that_are_in_a_hurry_are_accepted(rendered: list[Json], promtool: str, tmp_path: Path) -> None:
    (rules,) = (thing["spec"] for thing in rendered if thing["kind"] == "PrometheusRule")
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(hurried(rules)), encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_policies_let_prometheus_in_and_nobody_else(rendered: list[Json]) -> None:
    (policy,) = [thing for thing in rendered if thing["kind"] == "NetworkPolicy"]
    job = job_network_policy(rendered)
    assert job is not None
    for spec, opened in ((policy["spec"], ["health"]), (job, [8701])):
        allowed = [rule for rule in spec["ingress"] if "monitoring" in json.dumps(rule)]
        (ports,) = [[port["port"] for port in rule["ports"]] for rule in allowed]
        assert ports == opened
