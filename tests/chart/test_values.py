"""Values as people have them: keys given twice, null, and values of a release that did not know the newest ones."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.rendering import (
    CHART,
    IMAGE,
    MATRIX,
    SERVED,
    Helm,
    HelmFailed,
    Json,
    objects,
    of_kind,
    pod_template,
)
from generate import value_at

DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SELECTOR = {
    "app.kubernetes.io/name": "seedbed",
    "app.kubernetes.io/instance": "seedbed",
    "app.kubernetes.io/component": "operator",
}
OPAQUE = {"labels", "podSecurityContext", "resources", "securityContext"}
"""Blocks that are passed on as a whole: what was given for one stands for its default."""
EVERYTHING = {
    "replicas": 2,
    "profiles": {"cpu": {"image": IMAGE}},
    "metrics": {
        "podMonitor": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "drivers": {"podMonitor": {"enabled": True}},
        "dashboards": {"enabled": True},
        "alerts": {"enabled": True},
    },
}


class Unique(yaml.CSafeLoader):
    """A reader that refuses what API servers refuse: a key twice in one map."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Json:
        """Read a map."""
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice, {node.start_mark}"
        return super().construct_mapping(node, deep)


def rendered(helm: Helm, values: Json, folder: Path, *arguments: str, chart: Path = CHART) -> list[Json]:
    text = helm.template(values, folder, *SERVED, *arguments, chart=chart)
    return [document for document in yaml.load_all(text, Loader=Unique) if document]


MINE = {"team": "vision", "app.kubernetes.io/name": "mine", "helm.sh/chart": "mine-1", "tier": "common"}
TWICE = {
    "labels of all objects": {"commonLabels": MINE},
    "labels of pods": {"operator": {"podLabels": {**MINE, "tier": "pod"}}, "commonLabels": MINE},
    "labels of monitors": {
        "metrics": {"podMonitor": {"enabled": True, "labels": MINE}},
        "commonLabels": MINE,
    },
    "labels of dashboards": {"metrics": {"dashboards": {"enabled": True, "labels": MINE}}},
    "labels of roles": {"commonLabels": {"rbac.authorization.k8s.io/aggregate-to-view": "false"}},
    "annotations of pods": {"operator": {"podAnnotations": {"kubectl.kubernetes.io/default-container": "a"}}},
    "annotations of definitions": {"crds": {"annotations": {"helm.sh/resource-policy": "mine"}}},
}


@pytest.mark.parametrize("values", TWICE.values(), ids=TWICE.keys())
def test_no_key_is_written_twice(helm: Helm, values: Json, tmp_path: Path) -> None:
    assert rendered(helm, EVERYTHING | values, tmp_path)


def test_selectors_find_their_pods_whatever_labels_are_given(helm4: Helm, tmp_path: Path) -> None:
    found = rendered(helm4, TWICE["labels of pods"], tmp_path)
    labels = pod_template(found)["metadata"]["labels"]
    assert SELECTOR.items() <= labels.items()
    assert (labels["team"], labels["tier"]) == ("vision", "pod"), "pod labels win over common ones"
    (deployment,) = of_kind(found, "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == SELECTOR


def test_items_of_ones_own_replace_those_of_the_chart(helm4: Helm, tmp_path: Path) -> None:
    operator = {
        "extraEnv": [{"name": "HOME", "value": "/home"}, {"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "extraVolumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    spec = pod_template(rendered(helm4, {"operator": operator}, tmp_path))["spec"]
    (container,) = spec["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    assert {"name": "HOME", "value": "/home"} in container["env"]
    assert container["volumeMounts"] == [{"name": "scratch", "mountPath": "/tmp"}]
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]


def paths(values: Json, *before: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value, folders too."""
    for name, value in values.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from paths(value, *before, name)


def with_value(values: Json, path: tuple[str, ...], value: object) -> Json:
    """Return a copy of the values with another one at a path."""
    changed = copy.deepcopy(values)
    inner = changed
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
    inner[path[-1]] = value
    return changed


def everyday(path: tuple[str, ...]) -> object:
    """Return the path as a parameter: Helm takes a second for each, so that only whole blocks are tried every day."""
    marks = () if len(path) == 1 else pytest.mark.exhaustive
    return pytest.param(path, marks=marks, id=".".join(path))


@pytest.mark.parametrize("path", [everyday(path) for path in paths(DEFAULTS)])
def test_null_gives_the_default_or_a_sentence(helm4: Helm, path: tuple[str, ...], tmp_path: Path) -> None:
    try:
        found = rendered(helm4, with_value(EVERYTHING, path, None), tmp_path)
    except HelmFailed as refused:
        said = str(refused)
    else:
        said = "" if of_kind(found, "Deployment") else "no Deployment"
    assert not said or "values don't meet the specifications of the schema" in said


def test_null_for_everything_gives_the_defaults(helm4: Helm, tmp_path: Path) -> None:
    nothing: Json = {}
    for path in paths(DEFAULTS):
        opaque = OPAQUE & set(path)
        folder = isinstance(value_at(DEFAULTS, ".".join(path)), dict) and not opaque
        if not folder and (not opaque or path[-1] in opaque):
            nothing = with_value(nothing, path, None)
    assert rendered(helm4, nothing, tmp_path) == rendered(helm4, {}, tmp_path)


def test_null_takes_away_what_is_passed_on_as_a_whole(helm4: Helm, tmp_path: Path) -> None:
    values = {"operator": {"resources": {"limits": None}}}
    (container,) = pod_template(rendered(helm4, values, tmp_path))["spec"]["containers"]
    assert list(container["resources"]) == ["requests"]


def chart_without(path: tuple[str, ...] | None, folder: Path) -> Path:
    """Copy the chart with a value taken out of its defaults, or all of them.

    So Helm renders it with `--reuse-values`: an older release's values stand for the chart's.
    """
    chart = folder / "seedbed"
    shutil.copytree(CHART, chart)
    values = {} if path is None else copy.deepcopy(DEFAULTS)
    if path is not None:
        inner = values
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
    (chart / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return chart


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", [*paths(DEFAULTS)], ids=".".join)
def test_values_of_a_release_that_did_not_know_one(
    helm4: Helm, path: tuple[str, ...], tmp_path: Path
) -> None:
    if OPAQUE & set(path[:-1]):
        pytest.skip("passed on as a whole: the older release's is kept")
    expected = rendered(helm4, {}, tmp_path)
    assert rendered(helm4, {}, tmp_path, chart=chart_without(path, tmp_path)) == expected


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())
def test_values_of_a_release_that_knew_none(helm4: Helm, values: Json, tmp_path: Path) -> None:
    expected = objects(helm4.template(values, tmp_path, *SERVED))
    assert rendered(helm4, values, tmp_path, chart=chart_without(None, tmp_path)) == expected
