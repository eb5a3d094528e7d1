"""Rules of the API server for one object: merge patch, defaults, grace of a deletion, label selectors."""

from __future__ import annotations

import json
from typing import Any

from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, SECRETS, ResourceKind


def copied(raw: Any) -> Any:
    """Return a copy that may be changed."""
    return json.loads(json.dumps(raw))


def merged(old: Any, patch: Any) -> Any:
    """Return a JSON merge patch applied (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = merged(kept.get(name), value)
    return kept


def default_fields(kind: ResourceKind, raw: dict[str, Any]) -> None:
    """Set in place the fields that the API server adds to an object."""
    if kind is JOBS:
        raw["metadata"].setdefault("generation", 1)
        if "status" in raw:
            raw["status"] = {"metrics": [], "timings": [], **raw["status"]}
    if kind is PROFILES:
        raw["metadata"].setdefault("generation", 1)
    if kind is PODS:
        raw.setdefault("status", {"phase": "Pending"})
    if kind is SECRETS:
        raw["data"] = raw.pop("stringData", {})


def deletion_grace(raw: RawObject, asked: int | None) -> int:
    """Return the grace of a deletion: none for a pod that no node has, or whose containers have ended."""
    if not raw["spec"].get("nodeName") or raw["status"]["phase"] in ("Succeeded", "Failed"):
        return 0
    return int(raw["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked)


def has_labels(raw: RawObject, selector: str) -> bool:
    """Say whether an object has the labels of a selector, `name=value` or `name`."""
    labels = raw["metadata"].get("labels") or {}
    for part in filter(None, selector.split(",")):
        name, equals, value = part.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
