"""The metadata of a resource, in a manifest or as the API server returns it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from seedbed_api.base_model import Block
from seedbed_api.scalar_types import Integer, Label, Matches, text

LONGEST_NAME = 40
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
ObjectName = Annotated[
    str,
    Matches(
        NAME_PATTERN,
        LONGEST_NAME,
        "must be an RFC 1035 label: a lower case letter, then lower case letters, digits and inner dashes",
        "rename the object",
    ),
]
_PART = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
QualifiedName = Annotated[
    str,
    Matches(
        rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_PART}$",
        317,
        "must be letters, digits, inner dashes, dots and underscores, after a domain and a slash or alone",
        "rename the key",
    ),
]
LabelValue = Annotated[
    str,
    Matches(
        rf"^({_PART})?$",
        63,
        "must be letters, digits and inner dashes, dots and underscores",
        "shorten or rename it, or use an annotation",
    ),
]
Labels = Annotated[dict[QualifiedName, LabelValue], Field(max_length=256)]
Annotations = Annotated[dict[QualifiedName, Annotated[str, text(262_144)]], Field(max_length=1024)]


Needed = Annotated[str, Field(min_length=1, max_length=253)]


class OwnerReference(Block):
    """What an object belongs to."""

    api_version: Needed
    kind: Needed
    name: Needed
    uid: Needed
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Block):
    """Name and labels of a resource; the rest is the API server's."""

    name: ObjectName
    """Name of the object: at most 40 characters, RFC 1035, since pods are named after it."""
    namespace: Label | None = None
    """Namespace of the object."""
    labels: Labels = Field(default_factory=dict)
    """Labels, for example the queue of Kueue."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations."""
    uid: Annotated[str, text(64)] | None = None
    """Set by the API server."""
    generation: Integer | None = None
    """Set by the API server."""
    resource_version: Annotated[str, text(64)] | None = None
    """Set by the API server."""
    creation_timestamp: Annotated[str, text(40)] | None = None
    """Set by the API server."""
    deletion_timestamp: Annotated[str, text(40)] | None = None
    """Set by the API server."""
    deletion_grace_period_seconds: Integer | None = None
    """Set by the API server."""
    generate_name: Annotated[str, text(63)] | None = None
    """Set by whoever let the API server choose the name."""
    finalizers: tuple[str, ...] | None = None
    """Set by controllers."""
    owner_references: tuple[OwnerReference, ...] | None = None
    """Set by controllers."""
    managed_fields: tuple[dict[str, Any], ...] | None = None
    """Set by the API server."""
