"""Groups of ranks on GPUs: which exchange is chosen, how they meet, and what NCCL is told. No GPU is needed."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch.distributed as dist
from ray.train.torch import config as ray_torch

from seedbed.ray_cluster import gpu_process_group, process_group, rendezvous_store
from seedbed.ray_cluster.cluster_interface import WorkerPlacement, WorkerRange
from seedbed.ray_cluster.gpu_process_group import GpuGroupConfig, set_nccl_variables
from seedbed.ray_cluster.local_ray import SETTINGS, LocalCluster
from seedbed.ray_cluster.process_group import GlooConfig
from seedbed.ray_cluster.ray_trainer import _process_group_config
from seedbed.startup.ray_environment import clean_environment
from support.gloo.control_store import ControlStore, a_store


def program(device: str) -> Any:
    return SimpleNamespace(device=device, feed="Local")


@pytest.mark.parametrize(
    ("device", "placement", "backend"),
    [
        ("cpu", WorkerPlacement(), "gloo"),
        ("cpu", WorkerPlacement(gpu_exchange="NCCL"), "gloo"),
        ("cuda", WorkerPlacement(gpu_exchange="NCCL"), "cpu:gloo,cuda:nccl"),
        ("cuda", WorkerPlacement(gpu_exchange="Sealed"), "gloo"),
        ("cuda", WorkerPlacement(), "gloo"),
    ],
)
def test_nccl_is_used_where_the_placement_says_so_and_nowhere_else(
    device: str, placement: WorkerPlacement, backend: str
) -> None:
    config = _process_group_config(program(device), placement)
    assert config.backend == backend
    assert isinstance(config, GlooConfig if device == "cpu" else GpuGroupConfig)


def test_on_one_machine_nccl_stays_on_loopback() -> None:
    with (
        mock.patch.multiple(
            "seedbed.ray_cluster.local_ray", local_ray=mock.MagicMock(), count_gpus=lambda: 2
        ),
        LocalCluster().provision_workers(program("cuda"), WorkerRange(least=2, most=2)) as placement,
    ):
        assert placement.gpu_exchange == "NCCL"
    assert SETTINGS["NCCL_SOCKET_IFNAME"] == "lo"


class Group:
    """A group of workers that runs everything here."""

    def __init__(self) -> None:
        self.called: list[tuple[Any, dict[str, Any]]] = []

    def __len__(self) -> int:
        return 2

    def execute(self, work: Any, **arguments: Any) -> None:
        self.called.append((work, arguments))

    def execute_single_async(self, rank: int, work: Any, **arguments: Any) -> None:
        assert arguments["own"] == rank
        self.called.append((work, arguments))


@pytest.mark.parametrize("exchange", ["NCCL", "Sealed"])
def test_ranks_on_gpus_meet_in_the_store_that_needs_the_token(exchange: Any) -> None:
    """Ray would tell them an address, at which a store of torch answers anybody."""
    config, group = GpuGroupConfig.of(exchange), Group()
    with mock.patch.multiple(process_group, ray=mock.MagicMock(), internal_kv=mock.MagicMock()):
        config.backend_cls().on_start(group, config)  # type: ignore[arg-type]
    works = [work for work, _ in group.called]
    assert works == [gpu_process_group._prepare_rank, process_group.join_group, process_group.join_group]
    assert ray_torch._setup_torch_process_group not in works
    assert {told["backend"] for _, told in group.called[1:]} == {config.backend}


def test_torch_asks_the_store_for_the_number_of_a_group_as_nccl_does(control: ControlStore) -> None:
    """Through two prefixes, from C++, and from a thread of its own; no port is opened for it."""
    stores = a_store("g"), a_store("g")  # torch does not hold the part that is Python
    first, second = (dist.PrefixStore("0", dist.PrefixStore("cuda", store)) for store in stores)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend([second.get("0"), second.multi_get(["0", "0"])]))
    thread.start()
    first.set("0", b"unique id")
    thread.join(30)
    assert found == [b"unique id", [b"unique id"] * 2]
    copy = first.clone()
    assert (copy.get("0"), copy.check(["0"]), copy.check(["1"])) == (b"unique id", True, False)
    assert {namespace for namespace, _ in control.values} == {rendezvous_store.NAMESPACE}


def test_nccl_draws_a_number_of_its_own_whatever_the_user_has_set() -> None:
    environ = {"NCCL_COMM_ID": "10.0.0.1:1234", "NCCL_DEBUG": "INFO", "NCCL_SOCKET_IFNAME": "ib0"}
    cleaned = dict(environ)
    clean_environment(cleaned, {})
    set_nccl_variables(environ)
    for each in (environ, cleaned):
        assert "NCCL_COMM_ID" not in each
        assert (each["NCCL_DEBUG"], each["NCCL_SOCKET_IFNAME"]) == ("INFO", "ib0")
    assert environ["TORCH_NCCL_ENABLE_MONITORING"] == "0"
