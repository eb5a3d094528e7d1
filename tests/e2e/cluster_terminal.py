"""Terminals of those who have a cluster: kubectl, Helm and seedbed, and the keys of the stores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from support.docs.terminal import Terminal, a_clone, add_program
from testbed.builds import HELM4, built
from testbed.testbeds import Testbed


def terminal_on(
    testbed: Testbed, folder: Path, *, namespace: str = "default", knows: Mapping[str, str] | None = None
) -> Terminal:
    """Return a terminal in a clone, whose kubectl acts in a namespace; `ToolMissing` where Helm cannot be built."""
    programs, config = folder / "bin", folder / "kubeconfig"
    add_program(programs, "kubectl", str(testbed.control.binary), "kubectl")
    add_program(programs, "helm", str(built(HELM4)))
    config.write_bytes(testbed.kubeconfig.read_bytes())
    keys = testbed.s3.outside.environment()
    homes = {f"HELM_{kind}_HOME": str(folder / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    terminal = Terminal(
        folder=a_clone(folder / "clone"),
        programs=programs,
        environment={**keys, **homes, "KUBECONFIG": str(config), "KUBE_EDITOR": "true"},
        knows={**keys, "NAMESPACE": namespace, "PROFILE": "default", **(knows or {})},
    )
    terminal.types(f"kubectl config set-context --current --namespace={namespace}")
    return terminal
