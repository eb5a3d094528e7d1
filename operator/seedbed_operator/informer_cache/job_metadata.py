"""What is kept of a job's labels and annotations: all if they are small, else what the profile copies.

The API server allows 256 KiB of annotations, and labels without a limit; planning reads only what pods get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seedbed_api.errors import refusal
from seedbed_api.pod_contract.labels import VERIFY_ANNOTATION
from seedbed_api.profile_policy import key_allowed
from seedbed_operator.informer_cache.bounded_fields import LONGEST_NAME, mapping

MOST_BYTES: Final = 8 * 1024
"""Of labels, and of annotations: names and values together."""
MOST_FINALIZERS: Final = 16
_NEVER_KEPT: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_ALWAYS_KEPT: Final = frozenset({VERIFY_ANNOTATION})
_OF_KUBERNETES: Final = frozenset({"orphan", "foregroundDeletion"})


@dataclass(frozen=True, slots=True)
class CopiedKeys:
    """What a profile copies from a job to its pods: keys, or whole domains."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


NOTHING_COPIED: Final = CopiedKeys()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobMetadata:
    """What is kept of the metadata of a job."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    complete: bool
    """Whether all is kept; else what another profile copies may be missing."""
    problem: str | None
    """Why no pod may be created: more is copied to pods than is kept."""


def job_metadata(metadata: Mapping[str, Any], copied: CopiedKeys) -> JobMetadata:
    """Return what is kept of the metadata of a job whose profile copies these keys."""
    labels, all_labels, too_many = _bounded(metadata, "labels", copied.labels)
    annotations, all_annotations, too_large = _bounded(metadata, "annotations", copied.annotations)
    return JobMetadata(
        labels=labels,
        annotations=annotations,
        complete=all_labels and all_annotations,
        problem=too_many or too_large,
    )


def _bounded(
    metadata: Mapping[str, Any], field: str, copied: Sequence[str]
) -> tuple[dict[str, str], bool, str | None]:
    """Return the kept entries, whether these are all, and the problem of what is too large to keep."""
    entries = {
        key: value
        for key, value in mapping(metadata.get(field)).items()
        if key not in _NEVER_KEPT and isinstance(value, str)
    }
    if _size(entries) <= MOST_BYTES:
        return entries, True, None
    asked = {key: value[:LONGEST_NAME] for key, value in entries.items() if key in _ALWAYS_KEPT}
    entries = {key: value for key, value in entries.items() if key_allowed(key, copied)} | asked
    size = _size(entries)
    if size <= MOST_BYTES:
        return entries, False, None
    largest = max(entries, key=lambda key: len(entries[key]))[:LONGEST_NAME]
    return {}, False, _too_large(field, size, largest)


def _size(entries: Mapping[str, str]) -> int:
    return sum(
        len(key.encode(errors="replace")) + len(value.encode(errors="replace"))
        for key, value in entries.items()
    )


def _too_large(field: str, size: int, largest: str) -> str:
    problem = f"has more than the {MOST_BYTES} bytes that are copied to pods; the largest is {largest}"
    return refusal(f"metadata.{field}", f"{size} bytes", problem, f"shorten or remove {field} of the job")


def kept_finalizers(metadata: Mapping[str, Any]) -> list[str]:
    """Return the finalizers of Kubernetes itself, which planning looks for, and the first of the others."""
    found = metadata.get("finalizers")
    names = (
        [name[:LONGEST_NAME] for name in found if isinstance(name, str)] if isinstance(found, list) else []
    )
    ours = [name for name in names if name in _OF_KUBERNETES]
    return [*ours, *(name for name in names if name not in _OF_KUBERNETES)][:MOST_FINALIZERS]
