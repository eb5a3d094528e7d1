"""The machines of a Ray cluster. Nothing of Ray Train is imported: the thread of the progress asks here.

Two threads that import parts of one package in different orders wait for each other, and Python fails one.
"""

from __future__ import annotations

import ray

from seedbed.ray_cluster.group_size import Node


def alive_nodes() -> list[Node]:
    """Return the machines of the cluster that are alive."""
    from ray._private.state import state

    leaving = set(state.get_draining_nodes())
    return [
        Node(
            name=node["NodeID"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            leaving=node["NodeID"] in leaving,
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
