"""What all jobs have said, moment by moment, so that a test that looks later misses nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.eventually import eventually
from support.situations.cluster_setup import GROUP, PATIENCE_SECONDS, Ground, conditions, says
from support.situations.control_plane_cases import Situation
from testbed.control_plane import ControlPlane
from testbed.kube import Json, Kube

JOBS = f"{GROUP}/trainingjobs"
EVERY_SECONDS = 0.5


@dataclass(kw_only=True, slots=True)
class Chronicle:
    """The statuses of all jobs, each as often as its conditions changed."""

    kube: Kube
    told: dict[str, list[Json]] = field(default_factory=dict)
    """By namespace: each has one job."""
    problem: Exception | None = None

    def look(self) -> None:
        """Note what is new."""
        for job in self.kube.items(JOBS):
            known = self.told.setdefault(job["metadata"]["namespace"], [])
            status = job.get("status", {})
            if not known or known[-1].get("conditions") != status.get("conditions"):
                known.append(status)

    def awaits(self, ground: Ground, situation: Situation, *, seconds: float) -> dict[str, Json]:
        """Return the conditions with which the job told of its situation, once it has."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.problem is None:
            for status in self.told.get(ground.namespace, []):
                found = conditions(status)
                if says(found.get("Running", {}), situation.reason, situation.says):
                    return found
            time.sleep(0.1)
        wanted = f"{situation.reason} with {', '.join(situation.says)}"
        raise AssertionError(f"{wanted}: not within {seconds:.0f} s, but\n{self.shown(ground)}")

    def shown(self, ground: Ground) -> str:
        """Return what the job has said so far."""
        running = (conditions(status).get("Running", {}) for status in self.told.get(ground.namespace, []))
        lines = (f"    {each.get('reason')}: {each.get('message')}" for each in running)
        return "\n".join((*lines, str(self.problem or "")))


@contextmanager
def chronicle(control: ControlPlane) -> Iterator[Chronicle]:
    """Keep the chronicle of a cluster, over a connection of its own."""
    kube = control.connect(control.user("chronicle", groups=("system:masters",)))
    kept, stop = Chronicle(kube=kube), threading.Event()

    def keep() -> None:
        try:
            while not stop.wait(EVERY_SECONDS):
                kept.look()
        except Exception as problem:
            kept.problem = problem  # told by whoever waits

    thread = threading.Thread(target=keep, name="chronicle")
    thread.start()
    try:
        yield kept
    finally:
        stop.set()
        thread.join()


def check(chronicle: Chronicle, ground: Ground, situation: Situation, *, seconds: float) -> str:
    """Check what a job says of its situation, how it flags it, and that it was announced; return the message."""
    found = chronicle.awaits(ground, situation, seconds=seconds)
    assert found["Running"]["status"] == "False"
    held = {kind for kind in ("Reconciling", "Stalled") if found.get(kind, {}).get("status") == "True"}
    assert held == {situation.condition} - {"Neither"}, found
    if situation.announced:
        check_announced(ground, situation)
    return f"{found['Running']['reason']}: {found['Running']['message']}"


def check_announced(ground: Ground, situation: Situation) -> None:
    """Check that an Event says it too."""
    eventually(
        lambda: announced(ground),
        lambda reasons: situation.reason in reasons,
        what=f"an Event {situation.reason}",
        seconds=PATIENCE_SECONDS,
        every=0.2,
    )


def check_not_flooded(ground: Ground) -> None:
    """Check that nothing was announced again and again: at most twice, or once in each attempt."""
    most = max(2, ground.status().get("attempts", 0))
    assert all(count <= most for count in announced(ground).values()), announced(ground)


def announced(ground: Ground) -> Counter[str]:
    """Return how often each reason was announced."""
    return Counter(event["reason"] for event in ground.events())
