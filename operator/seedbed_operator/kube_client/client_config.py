"""Load the client configuration: a kubeconfig, or the service account of the pod."""

from __future__ import annotations

import os
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration

from seedbed_api.errors import UserError, refusal

CONNECTIONS = 320
"""More than `RequestLimits` allows at a time, with the lists and the lease."""


async def load_configuration(kubeconfig: str | None) -> Configuration:
    """Return the configuration: the given kubeconfig, else the pod's service account, else KUBECONFIG."""
    configuration = Configuration()
    try:
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(
                config_file=_existing(kubeconfig), client_configuration=configuration
            )
    except config.ConfigException as error:
        raise UserError("InvalidKubeconfig", _problem(kubeconfig, str(error))) from error
    configuration.connection_pool_maxsize = CONNECTIONS
    return configuration


def _existing(kubeconfig: str | None) -> str | None:
    if kubeconfig is not None and not Path(kubeconfig).is_file():
        raise UserError("InvalidKubeconfig", _problem(kubeconfig, "is not a file"))
    return kubeconfig


def _problem(kubeconfig: str | None, problem: str) -> str:
    named = kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config")
    line = " ".join(problem.split())
    return refusal("--kubeconfig", named, line, "name a kubeconfig, or run in a pod with a service account")
