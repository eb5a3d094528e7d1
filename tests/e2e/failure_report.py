"""What a person would look at after a failure: objects, events, logs of operator and pods."""

from __future__ import annotations

import subprocess

from e2e.chart_release import NAMESPACE
from testbed.testbeds import Testbed

_TAIL = "--tail=60"


def what_happened(testbed: Testbed, namespace: str) -> str:
    """Return all that is known of the jobs of a namespace, and the operator's log."""
    asked = [
        ("get", "trainingjobs", "-n", namespace, "-o", "yaml"),
        ("get", "pods", "-A", "-o", "wide"),
        ("get", "events", "-n", namespace, "--sort-by=.metadata.creationTimestamp"),
        ("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator", "--prefix", "--tail=120"),
        ("logs", "-n", namespace, "-l", "seedbed.dev/role=driver", "--prefix", _TAIL),
        ("logs", "-n", namespace, "-l", "seedbed.dev/role=worker", "--prefix", _TAIL),
    ]
    return "\n".join(f"$ kubectl {' '.join(command)}\n{_answer(testbed, command)}" for command in asked)


def _answer(testbed: Testbed, command: tuple[str, ...]) -> str:
    try:
        return testbed.kube.kubectl(*command)
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
