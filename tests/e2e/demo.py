"""`make demo-cluster`: a Kubernetes on this machine, the chart, and the example trained in pods; step by step, then gone."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.chart_release import a_profile, operator_on, release_on, values
from e2e.failure_report import what_happened
from e2e.jobs import Job, condition, holds
from e2e.stores import DATASET, EXAMPLE, REPOSITORY, give_secrets, stock
from support.eventually import NotSeen
from testbed.builds import ToolMissing
from testbed.testbeds import Testbed, running_testbed

PATIENCE_SECONDS = 1200.0
LOOK_SECONDS = 1.0


def main() -> int:
    """Run the demo; exit code 0 when the job is complete, 1 when it is not or this machine lacks the means."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    began = time.monotonic()
    say(
        "Starting Kubernetes in namespaces of its own: control plane, one node (the first time, it is built: minutes)"
    )
    with tempfile.TemporaryDirectory(prefix="seedbed-demo-") as folder:
        try:
            with running_testbed(Path(folder, "testbed"), nodes=1, keep=True) as testbed:
                return demonstrated(testbed, Path(folder), began)
        except (ToolMissing, NotSeen) as reason:
            print(reason, file=sys.stderr)
            return 1


def demonstrated(testbed: Testbed, folder: Path, began: float) -> int:
    """Do what an admin and a user do, and follow the job."""
    say(f"Starting an S3 server; building the handwritten digits into {DATASET}")
    stock(testbed, folder)
    install(testbed, folder)
    say("Giving the namespace default the Secrets s3-read and s3-write, which the manifest names")
    give_secrets(testbed, "default")
    say(f"kubectl apply -f {EXAMPLE.relative_to(REPOSITORY)}")
    testbed.kube.kubectl("apply", "-f", str(EXAMPLE))
    job = Job(testbed=testbed, namespace="default", name="digits", output="s3://runs")
    for line in followed(job):
        print(f"         {line}", flush=True)
    if not holds(job.status(), "Complete"):
        print(what_happened(testbed, "default"), file=sys.stderr)
        return 1
    conclude(job, seconds=time.monotonic() - began)
    if sys.stdin.isatty():
        look_around(testbed)
    return 0


def install(testbed: Testbed, folder: Path) -> None:
    """Install the chart as docs/operations.md tells."""
    say("Building the operator's image: a Debian root and the locked packages, without a container engine")
    operator = operator_on(testbed)
    if operator.missing:
        say(f"{operator.missing}; the operator runs on this machine's programs instead")
    profile = a_profile(testbed.load(testbed.workload), testbed.s3.inside.endpoint)
    release = release_on(testbed, folder / "admin", operator)
    release.install(values(operator=operator, profile=profile), announce=say)


def followed(job: Job) -> Iterator[str]:
    """Yield a line whenever `kubectl get trainingjob` would look different, until the job ends."""
    until, last = time.monotonic() + PATIENCE_SECONDS, ""
    while time.monotonic() < until:
        status = job.status()
        progress = status.get("progress")
        done = f"step {progress['step']} of {progress['totalSteps']}" if progress else ""
        workers = status.get("workers", {"ready": 0, "desired": 0})
        ready = f"{workers['ready']} of {workers['desired']} workers"
        running = next((each for each in status.get("conditions", []) if each["type"] == "Running"), {})
        line = "  ".join(filter(None, (running.get("reason"), done, ready, running.get("message"))))
        if line != last:
            yield line
        last = line
        if holds(status, "Complete") or holds(status, "Failed"):
            return
        time.sleep(LOOK_SECONDS)


def conclude(job: Job, *, seconds: float) -> None:
    """Print what came out."""
    status = job.status()
    print(job.testbed.kube.kubectl("get", "trainingjob", "digits", "-o", "wide"))
    accuracy = next(metric["value"] for metric in status["metrics"] if metric["name"] == "test/accuracy")
    rows = {
        "ended": (condition(status, "Complete") or "").partition(":")[2],
        "accuracy on the test split": accuracy,
        "weights digest": status["model"]["weightsDigest"],
        "run": status["runID"],
        "model": status["model"]["uri"],
        "receipt": status["receipt"]["uri"],
        "whole demo": f"{seconds:.0f} s",
    }
    for name, value in rows.items():
        print(f"{name:<28}{value}")
    print("\n`make demo` trains the same manifest without Kubernetes: the same run, the same weights digest.")


def look_around(testbed: Testbed) -> None:
    """Say how to look around, and wait for Ctrl-C."""
    kubectl = "kubectl" if shutil.which("kubectl") else f"{testbed.control.binary} kubectl"
    buckets = testbed.s3.outside.root
    print(
        f"\nLook around in another terminal, Ctrl-C here ends and removes everything:\n\n"
        f"    export KUBECONFIG={testbed.kubeconfig}\n"
        f"    {kubectl} get trainingjob digits -o yaml\n"
        f"    {kubectl} get events\n"
        f"    {kubectl} explain trainingjob.spec.training\n"
        f"    {kubectl} get pods --all-namespaces\n"
        f"    ls {buckets}/runs/runs/*  {buckets}/runs/logs/*/*/*      # what S3 holds\n",
        flush=True,
    )
    signal.pause()


def say(text: str) -> None:
    """Print a station of the demo."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
