"""Keeps the NetworkPolicies of a testbed with real nodes in force: looks twice a second, writes one nftables table."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from testbed.control_plane import ControlPlane
from testbed.kube import Kube, Refused
from testbed.network_policies import TABLE, Cluster, pod_facts, ruleset


@dataclass(kw_only=True, slots=True)
class Policing:
    """A running enforcement; a failure of it is raised by `stop`."""

    control: ControlPlane
    rules: str = ""
    failure: Exception | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Enforce from now on."""
        kube = self.control.connect(self.control.user("policing", groups=("system:masters",)))
        self._enforce(kube)
        self._thread = threading.Thread(target=self._run, args=(kube,), name="policing", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Enforce no more; everything is free again."""
        assert self._thread is not None
        self._over.set()
        self._thread.join(timeout=240)
        self.control.box.run("nft", "delete", "table", "inet", TABLE)
        if self.failure is not None:
            raise self.failure

    def _run(self, kube: Kube) -> None:
        while not self._over.wait(0.5):
            try:
                self._enforce(kube)
            except OSError:
                continue  # the API server is down: the rules stay as they are
            except Refused as refused:
                if refused.status < 500:
                    self.failure = refused
                    return  # else it starts, or is too busy
            except Exception as failure:
                self.failure = failure
                return

    def _enforce(self, kube: Kube) -> None:
        facts = (pod_facts(pod) for pod in kube.items("/api/v1/pods"))
        namespaces = kube.items("/api/v1/namespaces")
        cluster = Cluster(
            policies=kube.items("/apis/networking.k8s.io/v1/networkpolicies"),
            pods=[pod for pod in facts if pod is not None],
            namespaces={each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in namespaces},
        )
        rules = ruleset(cluster)
        if rules != self.rules:
            self.control.box.run("nft", "-f", "-", feed=rules)
            self.rules = rules
