"""What keeps the operator from working is said in a line each, with the fix; nothing asks for rights on CRDs."""

from __future__ import annotations

import asyncio
import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from seedbed_api.errors import UserError
from seedbed_operator.kube_client.client_interface import ApiStatusError, RawObject
from seedbed_operator.manager.operator_settings import Settings
from seedbed_operator.manager.preflight import REQUIRED_PERMISSIONS, preflight_problems, unreadable_namespaces
from support.operator.fake_api_server import ApiServer

CRDS = Path(__file__).parents[4] / "crds"
KINDS = ("TrainingJob", "SweepJob", "TrainingProfile")
TEAM = Settings(namespaces=("team",), lease_namespace="system")


@cache
def schema(plural: str) -> Any:
    """Return the schema of a CRD of this repository."""
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


class Documents(ApiServer):
    """An API server that serves the CRDs of this repository."""

    def with_crds(self) -> Documents:
        self.schemas: dict[str, Any] = {}
        for kind in KINDS:
            self.schemas[f"dev.seedbed.v1alpha1.{kind}"] = copy.deepcopy(schema(f"{kind.lower()}s"))
        return self

    async def read(self, path: str) -> RawObject:
        if not getattr(self, "schemas", None):
            raise ApiStatusError(404, "NotFound", path)
        if path.startswith("/openapi"):
            return {"components": {"schemas": self.schemas}}
        plurals = [f"{kind.lower()}s" for kind in KINDS]
        return {"resources": [{"name": name} for plural in plurals for name in (plural, f"{plural}/status")]}


def found(server: ApiServer, settings: Settings = TEAM) -> list[str]:
    return asyncio.run(preflight_problems(server, settings))


def test_with_crds_and_rights_there_is_nothing_to_say() -> None:
    assert found(Documents().with_crds()) == []


def test_missing_crds_are_named_with_what_installs_them() -> None:
    first, second, third = found(Documents())
    assert first.startswith(
        "trainingjobs.seedbed.dev v1alpha1 is not served; install the CRDs of this version"
    )
    assert second.startswith("sweepjobs.seedbed.dev")
    assert third.startswith("trainingprofiles.seedbed.dev")


def test_crds_of_an_older_version_are_told_by_the_fields_they_lack() -> None:
    server = Documents().with_crds()
    status = server.schemas["dev.seedbed.v1alpha1.TrainingJob"]["properties"]["status"]["properties"]
    for name in ("retryTime", "accountedAttempts"):
        del status[name]
    del status["conditions"]["items"]["properties"]["reason"]
    (line,) = found(server)
    assert "trainingjobs.seedbed.dev is older than this operator: it lacks status." in line
    assert "status.accountedAttempts" in line
    assert "helm upgrade" in line


@pytest.mark.parametrize(
    ("verb", "plural", "line"),
    [
        ("create", "pods", "may not create pods in namespace team; add it to the operator's role"),
        (
            "patch",
            "trainingjobs/status",
            "may not patch trainingjobs/status.seedbed.dev in namespace team; add it to the operator's role",
        ),
        (
            "update",
            "leases",
            "may not update leases.coordination.k8s.io in namespace system; add it to the operator's role",
        ),
        (
            "watch",
            "trainingprofiles",
            "may not watch trainingprofiles.seedbed.dev cluster-wide; add it to the operator's role",
        ),
        ("get", "pods/log", "may not get pods/log in namespace team; add it to the operator's role"),
    ],
)
def test_what_is_forbidden_is_named(verb: str, plural: str, line: str) -> None:
    server = Documents().with_crds()
    server.forbidden.add((verb, plural))
    assert found(server) == [line]


TEAMS = Settings(namespaces=("team", "gone"), lease_namespace="gone")


@pytest.mark.parametrize(
    ("closed", "lost"),
    [
        (set(), set()),
        ({"gone"}, {"gone"}),
        ({"gone", "team"}, set()),
    ],
    ids=["all may be read", "one is gone", "none may be read: the operator must not start"],
)
def test_a_namespace_that_is_gone_keeps_the_operator_from_no_other(closed: set[str], lost: set[str]) -> None:
    server = Documents().with_crds()
    server.closed = closed
    found = asyncio.run(unreadable_namespaces(server, TEAMS))
    assert set(found) == lost
    assert not any("leases" in line for lines in found.values() for line in lines), (
        "without its lease it is nothing"
    )


def test_the_rights_are_few() -> None:
    verbs = {
        f"{kind.plural}/{sub}" if sub else f"{kind.group}/{kind.plural}": verbs
        for kind, sub, verbs in REQUIRED_PERMISSIONS
    }
    assert verbs["/secrets"] == "create", "no Secret is ever read"
    assert not any("deletecollection" in verb or "*" in verb for verb in verbs.values())


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "--namespace: must be given exactly when --all-namespaces is not"),
        ({"namespaces": ("a",), "all_namespaces": True}, "--namespace: must be given exactly"),
        ({"namespaces": ("A_b",)}, "--namespace: is not the name of an object (got 'A_b')"),
        ({"namespaces": ("a",), "relist_seconds": 0}, "--relist-seconds: must be between 1 and 3600 (got 0)"),
        ({"namespaces": ("a",), "health_port": 70000}, "--health-port: must be between 0 and 65535"),
        ({"namespaces": ("a",), "lease_name": "/"}, "--lease-name: is not the name of an object"),
    ],
)
def test_a_setting_that_cannot_stand_is_one_line(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused:
        Settings(**fields).check()
    assert refused.value.message.startswith(line)
    assert "\n" not in refused.value.message


def test_scopes() -> None:
    assert Settings(all_namespaces=True).check().scopes == (None,)
    assert Settings(namespaces=("a", "b")).check().scopes == ("a", "b")
