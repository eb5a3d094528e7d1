"""The rendered manifests: lint, both Helms alike, offline schemas, names, labels, and what is refused."""

from __future__ import annotations

import kubernetes_validate
import pytest

from chart.rendering import (
    CHART,
    IMAGE,
    MATRIX,
    NEWEST,
    OLDEST,
    SERVED,
    Helm,
    HelmFailed,
    Json,
    named,
    objects,
    of_kind,
    pod_template,
    values_file,
)
from seedbed_operator.cli import cli

FOREIGN = {"PodMonitor", "PrometheusRule", "ServiceMonitor", "TrainingProfile"}
"""Kinds that are no part of Kubernetes; a cluster with their definitions checks them."""
cases = pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())


@cases
def test_lint_has_nothing_to_say(helm: Helm, values: Json, tmp_path) -> None:
    helm.run("lint", "--strict", str(CHART), "--values", str(values_file(values, tmp_path)))


@cases
def test_manifests_fit_the_schemas_of_the_oldest_and_the_newest_kubernetes(helm4, values, tmp_path) -> None:
    for thing in objects(helm4.template(values, tmp_path, *SERVED)):
        if thing["kind"] not in FOREIGN:
            kubernetes_validate.validate(thing, NEWEST, strict=True)
            kubernetes_validate.validate(as_old_servers_read(thing), OLDEST, strict=True)


def as_old_servers_read(thing: Json) -> Json:
    """Selectable fields came with 1.30; a server that does not know them drops them with a warning."""
    for version in thing["spec"]["versions"] if thing["kind"] == "CustomResourceDefinition" else ():
        version.pop("selectableFields", None)
    return thing


def test_an_unknown_field_would_be_noticed(helm4, tmp_path) -> None:
    (deployment,) = of_kind(objects(helm4.template({}, tmp_path)), "Deployment")
    deployment["spec"]["template"]["spec"]["serviceAcountName"] = "typo"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


@cases
def test_both_helms_render_the_same(values: Json, tmp_path, helm4: Helm, helm: Helm) -> None:
    ours, theirs = (objects(h.template(values, tmp_path, *SERVED)) for h in (helm, helm4))
    assert sorted(map(str, ours)) == sorted(map(str, theirs))


@cases
def test_every_object_carries_the_recommended_labels_and_its_namespace(helm4, values, tmp_path) -> None:
    for thing in objects(helm4.template(values, tmp_path, *SERVED)):
        labels = thing["metadata"]["labels"]
        wanted = {"app.kubernetes.io/instance": "seedbed", "app.kubernetes.io/managed-by": "Helm"}
        assert wanted.items() <= labels.items(), thing["metadata"]["name"]
        assert labels["helm.sh/chart"].startswith("seedbed-")
        assert values.get("commonLabels", {}).items() <= labels.items()


REFUSED = {
    "an unknown key": ({"replica": 2}, "replica"),
    "an unknown key further down": ({"networkPolicy": {"training": {"egres": {}}}}, "egres"),
    "a number of replicas in words": ({"replicas": "two"}, "replicas"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
    "an image with its digest in the repository": ({"image": {"repository": "a@sha256:b"}}, "repository"),
    "a namespace that cannot be": ({"watchNamespaces": ["Team_A"]}, "watchNamespaces"),
    "the same namespace twice": ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
    "a profile without an image": ({"profiles": {"cpu": {}}}, "image"),
    "a profile with a misspelled field": ({"profiles": {"cpu": {"image": IMAGE, "wroker": {}}}}, "wroker"),
    "a profile with an image by tag": ({"profiles": {"cpu": {"image": "seedbed:latest"}}}, "image"),
    "a profile of a name that cannot be": ({"profiles": {"CPU": {"image": IMAGE}}}, "CPU"),
    "a priority class without a value": ({"priorityClasses": {"low": {}}}, "value"),
    "a port out of range": ({"networkPolicy": {"operator": {"apiServerPorts": [0]}}}, "apiServerPorts"),
}


@pytest.mark.parametrize(("values", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_names_the_value(helm: Helm, values: Json, told: str, tmp_path) -> None:
    with pytest.raises(HelmFailed, match=told):
        helm.template(values, tmp_path, *SERVED)


def test_a_cluster_that_is_too_old_is_refused(helm: Helm, tmp_path) -> None:
    with pytest.raises(HelmFailed, match=r"requires kubeVersion: >=1\.29"):
        helm.template({}, tmp_path, "--kube-version", "1.28.9")


def test_a_parent_chart_may_pass_globals(helm: Helm, tmp_path) -> None:
    assert helm.template({"global": {"anything": 1}}, tmp_path) == helm.template({}, tmp_path)


RELEASES = {
    "release named as the chart": ("seedbed", {}, "seedbed-operator"),
    "release of another name": ("prod", {}, "prod-seedbed-operator"),
    "name of one's own": ("prod", {"nameOverride": "trainer"}, "prod-trainer-operator"),
    "whole name of one's own": ("prod", {"fullnameOverride": "bed"}, "bed-operator"),
    "a release name as long as Helm allows": ("r" * 53, {}, "r" * 50 + "-operator"),
}


@pytest.mark.parametrize(("release", "values", "name"), RELEASES.values(), ids=RELEASES.keys())
def test_names_of_releases(helm4: Helm, release: str, values: Json, name: str, tmp_path) -> None:
    found = objects(helm4.template(values, tmp_path, release=release))
    assert {thing["metadata"]["name"] for thing in of_kind(found, "Deployment")} == {name}
    assert all(len(thing["metadata"]["name"]) <= 253 for thing in found)


def test_the_selector_of_the_deployment_does_not_change_between_versions(helm4: Helm, tmp_path) -> None:
    (deployment,) = of_kind(objects(helm4.template({"commonLabels": {"a": "b"}}, tmp_path)), "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "seedbed",
        "app.kubernetes.io/instance": "seedbed",
        "app.kubernetes.io/component": "operator",
    }


EVERYWHERE = {"namespaces": (), "all_namespaces": True}
SETTINGS = {
    "all namespaces": ({}, {**EVERYWHERE, "log_format": "json"}),
    "some namespaces": ({"watchNamespaces": ["a", "b"]}, {"namespaces": ("a", "b"), "all_namespaces": False}),
    "logs to read": ({"operator": {"logFormat": "text"}}, {**EVERYWHERE, "log_format": "text"}),
    "more arguments": ({"operator": {"extraArgs": ["--relist-seconds=60"]}}, {"relist_seconds": 60}),
    "an earlier name of an argument": (
        {"operator": {"extraArgs": ["--sweep-seconds=60"]}},
        {"relist_seconds": 60},
    ),
    "an earlier name of a variable": (
        {"operator": {"extraEnv": [{"name": "SEEDBED_OPERATOR_SWEEP_SECONDS", "value": "60"}]}},
        {"relist_seconds": 60},
    ),
}


@pytest.mark.parametrize(("values", "settings"), SETTINGS.values(), ids=SETTINGS.keys())
def test_the_operator_and_its_check_are_told_where_to_work(
    helm4, values, settings, tmp_path, monkeypatch
) -> None:
    (container,) = pod_template(objects(helm4.template(values, tmp_path)))["spec"]["containers"]
    assert container["command"] == ["seedbed-operator", "run"]
    for each in container["env"]:
        monkeypatch.setenv(each["name"], each.get("value", ""))
    told = {**settings, "lease_namespace": "operators"}
    running = options_of("run", container.get("args", []))
    assert {**running, **told, "health_port": 8080} == running
    checking = options_of("check", [])
    assert {**checking, **{name: told[name] for name in told if name in checking}} == checking


def options_of(command: str, arguments: list[str]) -> dict[str, object]:
    """Return the options of a command of the operator as it reads them here."""
    return cli.commands[command].make_context(command, list(arguments)).params


IMAGES = {
    "tag of the chart": ({}, "seedbed-operator:0.1.0"),
    "another tag": ({"image": {"tag": "dev"}}, "seedbed-operator:dev"),
    "the digest wins": (
        {"image": {"tag": "dev", "digest": "sha256:" + "0" * 64}},
        f"seedbed-operator@sha256:{'0' * 64}",
    ),
}


@pytest.mark.parametrize(("values", "image"), IMAGES.values(), ids=IMAGES.keys())
def test_the_image(helm4: Helm, values: Json, image: str, tmp_path) -> None:
    (container,) = pod_template(objects(helm4.template(values, tmp_path)))["spec"]["containers"]
    assert container["image"] == image


def test_profiles_wait_for_their_definition(helm: Helm, tmp_path) -> None:
    values = MATRIX["profiles and priorities"]
    first, later = (objects(helm.template(values, tmp_path, *more)) for more in ((), SERVED))
    assert of_kind(first, "TrainingProfile") == []
    assert [profile["metadata"]["name"] for profile in of_kind(later, "TrainingProfile")] == [
        "cpu",
        "gpu-a100",
    ]
    assert named(later, "TrainingProfile", "gpu-a100")["spec"] == values["profiles"]["gpu-a100"]


def test_profiles_need_no_second_run_where_definitions_are_installed_apart(helm: Helm, tmp_path) -> None:
    values = MATRIX["profiles and priorities"] | {"crds": {"install": False}}
    assert len(of_kind(objects(helm.template(values, tmp_path)), "TrainingProfile")) == 2


def test_definitions_are_rendered_unchanged(helm: Helm, tmp_path) -> None:
    found = of_kind(objects(helm.template({}, tmp_path)), "CustomResourceDefinition")
    files = [path.read_text(encoding="utf-8") for path in sorted((CHART / "files/crds").glob("*.yaml"))]
    assert [thing["spec"] for thing in found] == [objects(text)[0]["spec"] for text in files]
    assert len(found) == 3
    assert all(thing["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for thing in found)


def test_definitions_that_go_with_the_release(helm: Helm, tmp_path) -> None:
    values = MATRIX["definitions that go with the release"]
    for thing in of_kind(objects(helm.template(values, tmp_path)), "CustomResourceDefinition"):
        assert thing["metadata"]["annotations"] == {"example.org/a": "b"}


def test_a_budget_comes_with_the_second_replica(helm4: Helm, tmp_path) -> None:
    found = {n: objects(helm4.template({"replicas": n}, tmp_path)) for n in (1, 2)}
    assert [len(of_kind(found[n], "PodDisruptionBudget")) for n in (1, 2)] == [0, 1]
