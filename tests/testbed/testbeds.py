"""A whole testbed in one box: a control plane, and what a test asks for beside it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from testbed.boxes import Box, Daemon, missing_means, start_box
from testbed.builds import COREDNS, KUBERNETES, PAUSE, VERSITYGW, built, missing_for, need
from testbed.control_plane import API_ADDRESS, ControlPlane, EtcdStore, start_control_plane
from testbed.fake_nodes import FakeNodes, start_fake_nodes
from testbed.images import Image
from testbed.kube import Kube
from testbed.node_files import RUNTIME_CLASSES
from testbed.nodes import Node, missing_node_means, start_node, workload_image
from testbed.policy_controller import Policing
from testbed.services import S3_ADDRESS, InnerGateway, start_dns, start_proxy, start_s3

WORKLOAD_IMAGE = "localhost/seedbed-workload:testbed"
_RUNTIME_CLASSES = [
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name}
    for name in RUNTIME_CLASSES
]


@dataclass(kw_only=True, slots=True)
class Testbed:
    """A running testbed; what is not there yet is started when a test asks for it."""

    __test__: ClassVar[bool] = False  # for pytest, which collects by name

    box: Box
    control: ControlPlane
    root: Path | None = None
    """The root file system of another machine: what pods of RuntimeClass `own` run from."""
    nodes: list[Node] = field(default_factory=list)
    dns: Daemon | None = None
    proxy: Daemon | None = None
    _s3: InnerGateway | None = None
    _fake_nodes: FakeNodes | None = None
    _workload: Image | None = None

    @property
    def kube(self) -> Kube:
        """The admin's connection."""
        return self.control.kube

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig, for processes outside the box."""
        return self.control.kubeconfig

    @property
    def s3(self) -> InnerGateway:
        """The S3 server of pods and the machine."""
        if self._s3 is None:
            self._s3 = start_s3(self.box)
        return self._s3

    @property
    def fake_nodes(self) -> FakeNodes:
        """Nodes without machines, beside the real ones or alone."""
        if self._fake_nodes is None:
            self._fake_nodes = start_fake_nodes(self.control)
        return self._fake_nodes

    def node(self, name: str) -> Node:
        """Return a real node by its name."""
        return next(node for node in self.nodes if node.name == name)

    def add_node(self, labels: Mapping[str, str] | None = None) -> Node:
        """Start one more real node; the first one brings Services, names and the workload image."""
        if not self.nodes:
            self.kube.apply(*_RUNTIME_CLASSES)
            self.proxy, self.dns = start_proxy(self.control), start_dns(self.control)
        node = start_node(self.control, len(self.nodes) + 1, labels=labels, root=self.root)
        self.nodes.append(node)
        node.load(self.workload)
        return node

    @property
    def workload(self) -> Image:
        """The image in which `seedbed` and `python` of this machine run."""
        if self._workload is None:
            self._workload = workload_image(self.box.folder / "images", WORKLOAD_IMAGE)
        return self._workload

    @contextmanager
    def network_policies(self) -> Iterator[None]:
        """Enforce NetworkPolicies between pods, and from pods to servers of the box, within a second."""
        policing = Policing(control=self.control)
        policing.start()
        try:
            yield
        finally:
            policing.stop()

    def load(self, image: Image) -> str:
        """Make an image known to all real nodes; return its reference by digest."""
        return [node.load(image) for node in self.nodes][-1]


@contextmanager
def running_testbed(
    folder: Path | None = None,
    *,
    nodes: int = 0,
    keep: bool = False,
    root: Path | None = None,
    store: EtcdStore | None = None,
) -> Iterator[Testbed]:
    """Run a testbed with its files in `folder`, removed at the end unless `keep`; `ToolMissing` without the means."""
    check_means(nodes)
    place = folder or Path(tempfile.mkdtemp(prefix="seedbed-testbed-"))
    try:
        box = start_box(place, addresses=(API_ADDRESS, S3_ADDRESS), keep=keep)
        try:
            testbed = Testbed(box=box, control=start_control_plane(box, store=store), root=root)
            for _ in range(nodes):
                testbed.add_node()
            yield testbed
        finally:
            box.stop()
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def check_means(nodes: int) -> None:
    """Find out what is missing, and build what is not there, before anything starts."""
    tools = (KUBERNETES, PAUSE, COREDNS, VERSITYGW) if nodes else (KUBERNETES,)
    need([*missing_means(), *(missing_node_means() if nodes else ()), *missing_for(*tools)])
    for tool in tools:
        built(tool)
