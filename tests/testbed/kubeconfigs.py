"""Kubeconfig files of the testbed's users."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from testbed.certificates import Certificate


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """Somebody the API server knows, by a certificate or by a token."""

    name: str
    certificate: Certificate | None = None
    token: str | None = field(default=None, repr=False)


def write_kubeconfig(place: Path, *, server: str, authority: Path, user: User) -> Path:
    """Write a kubeconfig that needs no other file, and return its path."""
    cluster = {"server": server, "certificate-authority-data": _encoded(authority)}
    context = {"cluster": "testbed", "user": user.name, "namespace": "default"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{"name": "testbed", "cluster": cluster}],
        "users": [{"name": user.name, "user": _credentials(user)}],
        "contexts": [{"name": "testbed", "context": context}],
    }
    place.touch(mode=0o600)
    place.write_text(yaml.safe_dump(document))
    return place


def _credentials(user: User) -> dict[str, Any]:
    if user.certificate is None:
        return {"token": user.token}
    return {
        "client-certificate-data": _encoded(user.certificate.certificate),
        "client-key-data": _encoded(user.certificate.key),
    }


def _encoded(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()
