"""What a cluster holds beside what it was started with, and its removal, so that the next tier finds it as new."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from support.eventually import eventually
from testbed.kube import Kube, Refused

Inventory = frozenset[str]
"""Paths of all objects that lie in no namespace, or in the namespace `default`."""
_NAMESPACES = "/api/v1/namespaces/"
_KEPT_BY_THE_SERVER = {
    "apiservices",  # one per definition
    "certificatesigningrequests",
    "csinodes",  # one per kubelet
    "endpointslices",
    "events",
    "flowschemas",
    "ipaddresses",  # one per Service
    "leases",
    "prioritylevelconfigurations",
}
_MADE_BY_THE_SERVER = re.compile(r"system[:-].*|kube-.*|kubernetes|serviceaccounts/default")
"""Names of what it may make after an inventory was taken."""
_NAMESPACE = re.compile(f"{_NAMESPACES}[^/]+")
_ADMISSION = re.compile(r"/(validating|mutating)(webhookconfigurations|admissionpolic)")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """A kind that can be listed and deleted."""

    root: str
    plural: str
    namespaced: bool

    def within(self, namespace: str | None) -> str:
        """Return the path of its objects in a namespace, or of all."""
        part = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{part}/{self.plural}"


def take_inventory(kube: Kube) -> Inventory:
    """Look at everything that lies in no namespace or in `default`, but what the API server makes by itself."""
    return frozenset(path for kind in _kinds(kube) for path in _paths(kube, kind))


def remove_all_but(kept: Inventory, kube: Kube, *, seconds: float = 240) -> None:
    """Remove what has come since an inventory was taken, again and again until it is gone; `NotSeen` if it stays.

    A webhook, for one, goes on refusing for a moment after it was deleted.
    """
    eventually(
        lambda: _remove_once(kept, kube),
        lambda left: not left,
        what="the removal of what tests left",
        seconds=seconds,
        every=0.2,
        shown=sorted,
    )


def _remove_once(kept: Inventory, kube: Kube) -> Inventory:
    """Ask once for the removal of what is there beside what is kept; return that."""
    left = take_inventory(kube) - kept
    namespaces = {path.removeprefix(_NAMESPACES) for path in left if _NAMESPACE.fullmatch(path)}
    for path in sorted(left, key=lambda path: _ADMISSION.search(path) is None):
        with suppress(Refused):
            kube.delete(path, grace_seconds=0)
    for namespace in namespaces:
        with suppress(Refused):
            kube.delete(f"{_NAMESPACES}{namespace}/pods", grace_seconds=0)
    for kind in _kinds(kube):
        with suppress(Refused):
            _release(kube, kind, {*namespaces, "default"})
    return left


def _release(kube: Kube, kind: _Kind, namespaces: set[str]) -> None:
    """Take the finalizers off what is being deleted; those who would are gone with the tests."""
    for thing in kube.items(kind.within(None)):
        held = thing["metadata"]
        if held.get("finalizers") and "deletionTimestamp" in held and held.get("namespace") in namespaces:
            kube.patch(f"{kind.within(held['namespace'])}/{held['name']}", {"metadata": {"finalizers": None}})


def _kinds(kube: Kube) -> Iterator[_Kind]:
    groups = kube.get("/apis")["groups"]
    for root in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        with suppress(Refused):  # a group whose last definition is going
            for each in kube.get(root)["resources"]:
                if {"list", "delete"} <= set(each["verbs"]) and each["name"] not in _KEPT_BY_THE_SERVER:
                    yield _Kind(root=root, plural=each["name"], namespaced=each["namespaced"])


def _paths(kube: Kube, kind: _Kind) -> Iterator[str]:
    place = kind.within("default")
    with suppress(Refused):
        for thing in kube.items(place):
            name = thing["metadata"]["name"]
            if not any(map(_MADE_BY_THE_SERVER.fullmatch, (name, f"{kind.plural}/{name}"))):
                yield f"{place}/{name}"
