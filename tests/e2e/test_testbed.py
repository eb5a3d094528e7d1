"""The real nodes of the testbed: pods run, find each other and the S3 server; faults hit what they name; nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.plain_pods import a_pod, ended, run
from support.eventually import NotSeen
from testbed.builds import PAUSE, ToolMissing, built
from testbed.cgroups import PREFIX, ROOT
from testbed.images import write_image
from testbed.kube import Json
from testbed.nodes import Node
from testbed.testbeds import Testbed

pytestmark = pytest.mark.e2e

TESTS = Path(__file__).parents[1]


def started(testbed: Testbed, namespace: str, pod: Json) -> str:
    """Create a pod, wait until it runs, return its path."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    path = f"{pods}/{pod['metadata']['name']}"
    testbed.kube.create(pods, pod)
    testbed.kube.wait_for(path, lambda seen: seen["status"]["phase"] == "Running")
    return path


SERVE = "import http.server as h; h.HTTPServer(('0.0.0.0', 8000), h.SimpleHTTPRequestHandler).serve_forever()"


def test_a_restricted_pod_runs_the_cli_of_this_checkout(testbed: Testbed, pod_namespace: str) -> None:
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    identity = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    testbed.kube.patch(f"/api/v1/namespaces/{pod_namespace}", label)
    pod = a_pod("cli", "", securityContext=identity, container={"securityContext": restricted})
    pod["spec"]["containers"][0]["command"] = ["seedbed", "--help"]
    assert "validate" in run(testbed, pod_namespace, pod)


def test_an_image_is_run_by_its_digest_and_without_mounts(testbed: Testbed, pod_namespace: str) -> None:
    program = built(PAUSE).read_bytes()
    image = write_image(
        testbed.box.folder / "images", "localhost/own:1", command=["/own"], files={"own": program}
    )
    reference = testbed.load(image)
    assert reference.startswith("localhost/own@sha256:")
    pods = f"/api/v1/namespaces/{pod_namespace}/pods"
    container = {"image": reference, "imagePullPolicy": "IfNotPresent"}
    for name, extra, there in (("mounted", {}, True), ("plain", {"runtimeClassName": "plain"}, False)):
        pod = a_pod(name, "", container={**container, "command": ["/own"]}, **extra)
        path = started(testbed, pod_namespace, pod)
        running = testbed.node(testbed.kube.get(path)["spec"]["nodeName"]).processes(
            pod_namespace, name, "main"
        )
        assert all(Path(f"/proc/{process}/root/usr/bin").exists() == there for process in running)
        assert running
    testbed.kube.delete(pods)


def test_a_pod_on_one_node_finds_one_on_the_other_by_a_headless_service(
    testbed: Testbed, second_node: Node, pod_namespace: str
) -> None:
    service = {
        "metadata": {"name": "served"},
        "spec": {"clusterIP": "None", "selector": {"app": "server"}, "publishNotReadyAddresses": True},
    }
    testbed.kube.create(f"/api/v1/namespaces/{pod_namespace}/services", service)
    started(testbed, pod_namespace, a_pod("server", SERVE, nodeName="node1"))
    ask = (
        "import time, urllib.request as u\n"
        "for _ in range(60):\n"
        "    try: print(u.urlopen('http://served:8000/etc/', timeout=2).status); break\n"
        "    except OSError as error: print(error); time.sleep(0.5)\n"
    )
    printed = run(testbed, pod_namespace, a_pod("client", ask, nodeName=second_node.name))
    assert printed.splitlines()[-1] == "200", printed


def test_a_name_that_does_not_exist_is_refused_at_once(testbed: Testbed, pod_namespace: str) -> None:
    ask = (
        "import socket\ntry: socket.getaddrinfo('no-such.example', 80)\nexcept OSError as error: print(error)"
    )
    assert "not known" in run(testbed, pod_namespace, a_pod("asker", ask))


def test_a_service_address_leads_to_its_pod(testbed: Testbed, pod_namespace: str) -> None:
    spec = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]}
    service = {"metadata": {"name": "served"}, "spec": spec}
    made = testbed.kube.create(f"/api/v1/namespaces/{pod_namespace}/services", service)
    started(testbed, pod_namespace, a_pod("server", SERVE))
    ask = (
        "import time, urllib.request as u\n"
        "for _ in range(60):\n"
        f"    try: print(u.urlopen('http://{made['spec']['clusterIP']}', timeout=2).status); break\n"
        "    except OSError as error: print(error); time.sleep(0.5)\n"
    )
    assert run(testbed, pod_namespace, a_pod("client", ask)).splitlines()[-1] == "200"


def test_what_a_pod_stores_on_s3_is_read_outside(testbed: Testbed, pod_namespace: str) -> None:
    bucket = testbed.s3.outside.bucket()
    store = f"import fsspec\nwith fsspec.open('{bucket}/greeting', 'w') as f: f.write('from a pod')"
    pairs = testbed.s3.inside.environment()
    variables = [{"name": name, "value": value} for name, value in pairs.items()]
    run(testbed, pod_namespace, a_pod("writer", store, container={"env": variables}))
    stored = testbed.s3.outside.root / bucket.removeprefix("s3://") / "greeting"
    assert stored.read_text() == "from a pod"


def test_a_stopped_s3_server_refuses_and_comes_back_with_what_it_held(testbed: Testbed) -> None:
    from seedbed.storage import open_storage

    bucket = testbed.s3.outside.bucket()
    secret = testbed.s3.outside.secret(testbed.box.folder / "s3-secret")
    storage = open_storage(bucket, secret=secret, retry_seconds=0)
    storage.create("kept", b"content")
    testbed.s3.stop()
    with pytest.raises(Exception, match=r"kept|endpoint|connect"):
        storage.read("kept")
    testbed.s3.start()
    assert storage.read("kept") == b"content"


def test_what_a_container_said_last_is_its_termination_message(testbed: Testbed, pod_namespace: str) -> None:
    script = "open('/dev/termination-log', 'w').write('the end'); raise SystemExit(75)"
    testbed.kube.create(f"/api/v1/namespaces/{pod_namespace}/pods", a_pod("speaker", script))
    end = ended(testbed, f"/api/v1/namespaces/{pod_namespace}/pods/speaker")
    assert (end["exitCode"], end["message"]) == (75, "the end")


def test_deletion_lets_the_first_process_end_by_itself(testbed: Testbed, pod_namespace: str) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    pod = a_pod("waiter", script, terminationGracePeriodSeconds=600)
    path = started(testbed, pod_namespace, pod)
    wait_for_log(testbed, path, "ready")
    testbed.kube.delete(path)
    testbed.kube.wait_gone(path, seconds=300)  # half of the grace


def test_the_process_of_one_container_is_killed_by_name(testbed: Testbed, pod_namespace: str) -> None:
    path = started(testbed, pod_namespace, a_pod("victim", "import time; time.sleep(600)"))
    node = testbed.node(testbed.kube.get(path)["spec"]["nodeName"])
    assert [line for line in node.processes(pod_namespace, "victim", "main").values() if "sleep(600)" in line]
    node.kill_container(pod_namespace, "victim", "main")
    assert ended(testbed, path)["exitCode"] == 137


def test_gpus_that_a_node_only_claims_are_counted_by_the_scheduler(
    testbed: Testbed, pod_namespace: str
) -> None:
    testbed.nodes[0].set_gpus(2)
    wants = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    started(testbed, pod_namespace, a_pod("first", "import time; time.sleep(600)", container=wants))
    pods = f"/api/v1/namespaces/{pod_namespace}/pods"
    testbed.kube.create(pods, a_pod("second", "pass", container=wants))
    testbed.kube.wait_for(f"{pods}/second", _unschedulable, seconds=240)
    testbed.kube.delete(f"{pods}/first", grace_seconds=0)
    assert ended(testbed, f"{pods}/second")["exitCode"] == 0


def test_an_evicted_pod_says_that_it_was_disrupted(testbed: Testbed, pod_namespace: str) -> None:
    script = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print('ready', flush=True); time.sleep(600)"
    pod = a_pod("evicted", script, terminationGracePeriodSeconds=60)
    pod["metadata"]["finalizers"] = ["seedbed.dev/seen-by-test"]
    path = started(testbed, pod_namespace, pod)
    wait_for_log(testbed, path, "ready")
    testbed.kube.create(f"{path}/eviction", {"metadata": {"name": "evicted"}})
    assert ended(testbed, path)["exitCode"] == 143
    conditions = {each["type"]: each["status"] for each in testbed.kube.get(path)["status"]["conditions"]}
    testbed.kube.patch(path, {"metadata": {"finalizers": None}})
    assert conditions["DisruptionTarget"] == "True"


def test_pods_of_a_dead_node_wait_for_it_until_it_is_out_of_service(
    testbed: Testbed, second_node: Node, pod_namespace: str
) -> None:
    tolerations = [
        {
            "key": "node.kubernetes.io/unreachable",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 2,
        }
    ]
    pod = a_pod("lost", "import time; time.sleep(600)", nodeName=second_node.name, tolerations=tolerations)
    path = started(testbed, pod_namespace, pod)
    second_node.kill()
    second_node.await_ready(ready=False, seconds=240)
    testbed.kube.wait_for(path, lambda seen: "deletionTimestamp" in seen["metadata"], seconds=240)
    with pytest.raises(NotSeen):
        testbed.kube.wait_gone(path, seconds=3)
    second_node.set_out_of_service()
    testbed.kube.wait_gone(path, seconds=240)
    second_node.start()
    assert run(testbed, pod_namespace, a_pod("after", "print('back')", nodeName=second_node.name)) == "back\n"


def test_network_policies_hold_while_they_are_enforced(testbed: Testbed, pod_namespace: str) -> None:
    path = started(testbed, pod_namespace, a_pod("server", SERVE))
    address = testbed.kube.get(path)["status"]["podIP"]
    ask = (
        "import urllib.request as u\n"
        f"try: print(u.urlopen('http://{address}:8000', timeout=3).status)\n"
        "except OSError as error: print('blocked', error)"
    )
    # who may come is let in once the address of its pod is known
    insist = (
        "import time, urllib.request as u\n"
        "for _ in range(60):\n"
        f"    try: print(u.urlopen('http://{address}:8000', timeout=3).status); break\n"
        "    except OSError: time.sleep(0.2)\n"
    )
    only_friends = {
        "metadata": {"name": "only-friends"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "server"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
        },
    }
    testbed.kube.create(
        f"/apis/networking.k8s.io/v1/namespaces/{pod_namespace}/networkpolicies", only_friends
    )
    with testbed.network_policies():
        assert run(testbed, pod_namespace, a_pod("stranger", ask)).startswith("blocked")
        assert run(testbed, pod_namespace, a_pod("friend", insist)) == "200\n"
    assert run(testbed, pod_namespace, a_pod("later", insist)) == "200\n", "it is off again"


def test_nothing_is_left_when_the_starter_is_killed(tmp_path: Path) -> None:
    with started_by_hand(tmp_path) as starter:
        traces = Traces.of(starter.pid, tmp_path)
        assert all(traces.found().values()), traces.found()
        starter.kill()
        starter.wait()
    deadline = time.monotonic() + 240
    while any(traces.found().values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(traces.found().values()), traces.found()
    assert not list(Path("/sys/class/net").glob("tb[0-9]*")), "a bridge outside the box"
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


class started_by_hand:  # noqa: N801 - reads as a verb in `with`
    """`python -m testbed up --nodes 1` in a process of its own, until its kubeconfig is printed."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "up.log"
        self.command = [sys.executable, "-m", "testbed", "up", "--nodes", "1"]
        self.environment = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(folder)}

    def __enter__(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as output:
            self.starter = subprocess.Popen(self.command, env=self.environment, stdout=output, stderr=output)
        deadline = time.monotonic() + 400
        while "export KUBECONFIG" not in self.log.read_text():
            if self.starter.poll() is not None:
                self._ended_early()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return self.starter

    def _ended_early(self) -> None:
        *_, last = self.log.read_text().splitlines() or [""]
        if last.startswith("not run: "):
            raise ToolMissing(last)
        pytest.fail(self.log.read_text())

    def __exit__(self, *_: object) -> None:
        if self.starter.poll() is None:
            self.starter.send_signal(signal.SIGTERM)
            self.starter.wait(timeout=240)


@dataclass(frozen=True, kw_only=True, slots=True)
class Traces:
    """By what a testbed of another process is known on this machine."""

    owner: int
    folder: Path
    processes: str
    """The namespace of its processes."""
    supervisor: int

    @classmethod
    def of(cls, owner: int, folder: Path) -> Traces:
        """Read what the testbed that `owner` started with its files below `folder` says of itself."""
        (state,) = folder.glob("seedbed-testbed-*/box.json")
        said = json.loads(state.read_text())
        return cls(
            owner=owner,
            folder=folder,
            processes=str(Path(f"/proc/{said['pid']}/ns/pid").readlink()),
            supervisor=said["supervisor"],
        )

    def found(self) -> dict[str, list[str]]:
        """Return what is there now."""
        supervisor = Path(f"/proc/{self.supervisor}")
        return {
            "processes": list(processes_of_namespace(self.processes)),
            "supervisor": [str(supervisor)] if supervisor.exists() else [],
            "cgroups": sorted(str(path) for path in ROOT.glob(f"*/{PREFIX}{self.owner}-*")),
            "files": [str(path) for path in self.folder.glob("seedbed-testbed-*")],
        }


def processes_of_namespace(namespace: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if str(path.readlink()) == namespace:
                yield path.parts[2]
        except OSError:
            continue  # it has just ended


def wait_for_log(testbed: Testbed, path: str, text: str) -> None:
    deadline = time.monotonic() + 240
    while text not in testbed.kube.text(f"{path}/log"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _unschedulable(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any("Insufficient nvidia.com/gpu" in each.get("message", "") for each in conditions)
