"""A job on real pods behind the NetworkPolicy that the operator makes: its own pods train, others cannot connect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.jobs import Job, Jobs, Straight, check_same_model, stopped_ranks
from e2e.plain_pods import a_pod, run
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT, RAY_PORT
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Port = tuple[str, int]
METADATA = "169.254.169.254"
LISTENING, LOOPBACK = "0A", ("0100007F", "00000001000000")
FOREIGN = "network-foreign"
TRIES = """
import json, socket, time
from concurrent.futures import ThreadPoolExecutor

def attempt(target):
    for _ in range(ROUNDS):
        try:
            socket.create_connection(target, timeout=3).close()
            return True
        except OSError:
            time.sleep(0.3)
    return False

with ThreadPoolExecutor(64) as pool:
    print(json.dumps(list(pool.map(attempt, TARGETS))))
"""


def test_no_foreign_pod_connects_to_a_job_that_trains_to_its_model(
    testbed: Testbed, jobs: Jobs, straight: Straight
) -> None:
    with testbed.network_policies(), foreign_namespace(testbed), metadata_service(testbed):
        job = jobs.apply(workers=(2, 2), every=100)
        job.await_checkpoint(at=0)
        with stopped_ranks(job):  # they listen meanwhile, and the training is not over before all was tried
            job.await_training()
            check_nobody_connects(testbed, job)
        job.await_complete()
    check_same_model(job, straight)


def check_nobody_connects(testbed: Testbed, job: Job) -> None:
    """Try the ports of driver and workers from pods of all kinds, and the metadata service from a worker."""
    ports, labels = sorted(listening(job)), labels_of(job)
    assert {PROGRESS_PORT, RAY_PORT} <= {port for _, port in ports}
    assert len({address for address, _ in ports}) == 3, "driver and workers"
    other = {**labels, "seedbed.dev/job-uid": "ffffffff-0000-4000-8000-000000000000"}
    assert not any(tried(testbed, job.namespace, "stranger", ports, {}))
    assert not any(tried(testbed, job.namespace, "other-job", ports, other))
    assert not any(tried(testbed, FOREIGN, "disguised", ports, labels)), "labels count in their namespace"
    friend = tried(testbed, job.namespace, "of-the-job", ports, labels, rounds=10)
    assert sum(friend) > len(ports) / 2, "they listen: it is the policy that keeps others out"
    assert not reaches_metadata(job), "user code asks for nobody's credentials"
    assert tried(testbed, job.namespace, "free", [(METADATA, 80)], {}, rounds=20) == [True]


def labels_of(job: Job) -> dict[str, str]:
    """Return the labels that the policy of a job selects."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{job.namespace}/networkpolicies"
    uid = job.testbed.kube.get(job.path)["metadata"]["uid"]
    (policy,) = [
        each for each in job.testbed.kube.items(path) if each["metadata"]["ownerReferences"][0]["uid"] == uid
    ]
    selected: dict[str, str] = policy["spec"]["podSelector"]["matchLabels"]
    return selected


def tried(
    testbed: Testbed, namespace: str, name: str, ports: list[Port], labels: dict[str, str], *, rounds: int = 1
) -> list[bool]:
    """Return which ports a pod with these labels can connect to."""
    pod = a_pod(name, f"TARGETS, ROUNDS = {ports!r}, {rounds}\n{TRIES}")
    pod["metadata"]["labels"] |= labels
    found: list[bool] = json.loads(run(testbed, namespace, pod))
    return found


def listening(job: Job) -> Iterator[Port]:
    """Yield the addresses and ports on which the pods of a job listen: Ray, its workers, gloo, the driver's server."""
    for pod in job.pods():
        role, address = pod["metadata"]["labels"]["seedbed.dev/role"], pod["status"]["podIP"]
        yield from ((address, port) for port in sorted(open_ports(a_process(job, pod, role))))


def open_ports(process: int) -> set[int]:
    """Return the ports on which the network of a process listens, but for those on its loopback alone."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, _, port = local.partition(":")
            if state == LISTENING and not address.endswith(LOOPBACK):
                found.add(int(port, 16))
    return found


def a_process(job: Job, pod: Json, role: str) -> int:
    return min(job.node_of(pod).processes(job.namespace, pod["metadata"]["name"], role))


def reaches_metadata(job: Job) -> bool:
    """Say whether a process in the network of a worker reaches the metadata service."""
    inside = ["nsenter", "-t", str(a_process(job, job.pod("worker"), "worker")), "-n", "--"]
    ask = f"import socket; socket.create_connection(({METADATA!r}, 80), timeout=5)"
    done = subprocess.run([*inside, sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "Error" in done.stderr, done.stderr
    return done.returncode == 0


@contextmanager
def foreign_namespace(testbed: Testbed) -> Iterator[None]:
    kube = testbed.kube
    kube.create("/api/v1/namespaces", {"metadata": {"name": FOREIGN}})
    kube.wait_for(f"/api/v1/namespaces/{FOREIGN}/serviceaccounts/default", lambda _: True)
    try:
        yield
    finally:
        kube.delete(f"/api/v1/namespaces/{FOREIGN}")


@contextmanager
def metadata_service(testbed: Testbed) -> Iterator[None]:
    """Answer where clouds give credentials to whoever asks."""
    address = (f"{METADATA}/32", "dev", "lo")
    testbed.box.run("ip", "address", "add", *address)
    served = (sys.executable, "-m", "http.server", "80", "--bind", METADATA, "--directory", "/proc/self/net")
    server = testbed.box.start("metadata", *served)
    try:
        yield
    finally:
        server.stop()
        testbed.box.run("ip", "address", "del", *address)
