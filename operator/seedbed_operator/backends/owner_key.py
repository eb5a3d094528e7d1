"""The Secret of a namespace's key, by which its jobs know what they have written; no job owns it."""

from __future__ import annotations

from seedbed_api.pod_contract.labels import MANAGED_BY_LABEL, PART_OF_LABEL, SEEDBED
from seedbed_operator.backends.child_metadata import OWNER_SECRET_NAME
from seedbed_operator.plan import Create


def owner_key_secret(namespace: str, *, may_be_gone: bool = False) -> Create:
    """Return the Secret; the random key is added at creation. `may_be_gone`: ask, whoever has created it."""
    meta = {
        "name": OWNER_SECRET_NAME,
        "namespace": namespace,
        "labels": {MANAGED_BY_LABEL: SEEDBED, PART_OF_LABEL: SEEDBED},
    }
    return Create(
        kind="Secret",
        body={"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "immutable": True},
        shared=not may_be_gone,
    )
