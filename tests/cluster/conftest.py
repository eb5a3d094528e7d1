"""Fixtures that several modules of this tier share."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.operator_process import Process, Scene, command, install
from seedbed_api.crd_generator import definitions
from testbed.control_plane import ControlPlane
from testbed.fixtures import control_plane, control_plane_testbed, fake_nodes, kube, namespace

__all__ = ["control_plane", "control_plane_testbed", "fake_nodes", "kube", "namespace"]


@pytest.fixture(scope="module")
def established(control_plane: ControlPlane) -> Iterator[None]:
    """Install the committed definitions for this module."""
    control_plane.kube.define(*(Path("crds", name) for name in definitions()))
    yield
    names = [f"crd/{each['metadata']['name']}" for each in definitions().values()]
    control_plane.kube.kubectl("delete", *names, seconds=600)


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start operators; each is ended with the test."""
    install(control_plane.kube)
    started: list[Process] = []

    def start(kubeconfig: Path = control_plane.kubeconfig, *more: str) -> Process:
        log = tmp_path / f"operator-{len(started)}.log"
        options = (
            f"--lease-namespace={namespace}",
            "--health-port=0",
            "--sweep-seconds=5",
            "--log-format=text",
            *more,
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                command("run", kubeconfig, namespace, *options), stdout=output, stderr=output
            )
        started.append(Process(process=process, log=log))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str) -> Scene:
    return Scene(kube=control_plane.kube, namespace=namespace)
