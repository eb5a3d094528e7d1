"""A pod that the kubelet evicted because it used too much disk: what to raise, or to write less of."""

from __future__ import annotations

import re

from seedbed_api.conditions import AttemptReason
from seedbed_operator.job_observation import PodView

_VOLUME = re.compile(r'EmptyDir volume "([^"]+)"')
_FIXES = {
    "tmp": "raise scratch.sizeLimit of the profile, or write less to /tmp",
    "shm": "raise memory of the profile's {role}: /dev/shm has as much",
    "cache": "raise cache.sizeLimit of the profile",
}
"""By the volume that the kubelet names."""
_OF_THE_POD = (
    "write less to /tmp and to the log, or raise resources.ephemeralStorage of the profile's {role}, by "
    "default the sum of scratch.sizeLimit, cache.sizeLimit and 1Gi for logs"
)


def used_too_much_disk(pod: PodView) -> bool:
    """Return whether a pod was evicted for its own use; an eviction because of the node has a condition."""
    return pod.reason == AttemptReason.EVICTED and not pod.disruption


def eviction_message(pod: PodView) -> str:
    """Return the kubelet's message with the fix."""
    if not pod.message:
        return f"pod {pod.name} was evicted"
    volume = _VOLUME.search(pod.message)
    fix = _FIXES.get(volume[1], _OF_THE_POD) if volume else _OF_THE_POD
    return f"pod {pod.name} was evicted: {pod.message.strip().rstrip('.')}; {fix.format(role=pod.role)}"
