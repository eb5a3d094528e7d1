"""What a node of the testbed is told: texts and documents, before anything starts."""

from __future__ import annotations

import copy
import json
import resource
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from testbed.node_files import (
    CHECKOUT,
    ENVIRONMENT,
    OWN_TO_PODS,
    REPOSITORY,
    NodePaths,
    containerd_config,
    kubelet_config,
    mounted_paths,
    network_config,
    rewritten_files,
    root_paths,
    runtime_spec,
)

DEFAULT = {
    "process": {"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]},
    "mounts": [{"destination": "/proc"}],
}


def test_mounts_are_read_only_and_added_to_those_that_are_there() -> None:
    spec = json.loads(runtime_spec(DEFAULT, {"/usr": Path("/usr")}))
    assert spec["mounts"][0] == {"destination": "/proc"}
    assert spec["mounts"][1]["source"] == "/usr"
    assert {"ro", "nosuid"} <= set(spec["mounts"][1]["options"])


def test_a_link_is_mounted_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    paths = root_paths(tmp_path)
    assert paths == {"/usr": tmp_path / "usr", "/lib": tmp_path / "usr/lib"}
    (_, mount) = json.loads(runtime_spec(DEFAULT, paths))["mounts"][1:]
    assert (mount["source"], mount["destination"]) == (str(tmp_path / "usr/lib"), "/lib")


def test_containers_may_open_as_many_files_as_this_process() -> None:
    spec = json.loads(runtime_spec(DEFAULT, {}))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": hard, "soft": hard}]


def test_the_default_is_left_as_it_was() -> None:
    before = copy.deepcopy(DEFAULT)
    runtime_spec(DEFAULT, {"/usr": Path("/usr")})
    assert before == DEFAULT


def test_tiny_images_find_python_its_environment_and_our_sources() -> None:
    mounts = mounted_paths()
    for needed in (sys.base_prefix, json.__file__, "/bin/sh"):
        assert any(Path(needed).is_relative_to(mount) for mount in mounts), needed
    assert mounts[str(ENVIRONMENT)] == Path(sys.prefix).resolve()
    assert mounts[str(CHECKOUT / "workloads")] == REPOSITORY / "workloads"


@pytest.mark.parametrize("hidden", OWN_TO_PODS)
def test_nothing_is_mounted_where_a_pod_has_its_own(hidden: str) -> None:
    """Also where the checkout itself lies there."""
    places = {**mounted_paths(), **rewritten_files()}
    assert not [place for place in places if Path(place).is_relative_to(hidden)]


def test_the_environment_in_pods_names_no_place_of_this_machine() -> None:
    files = rewritten_files()
    names = {Path(place).name for place in files}
    assert {"seedbed", "seedbed-operator"} <= names
    assert [name for name in names if name.endswith(".pth")]
    assert not [place for place, text in files.items() if str(REPOSITORY) in text or sys.prefix in text]


def test_commands_of_the_environment_run_our_entry_points() -> None:
    text = rewritten_files()[str(ENVIRONMENT / "bin/seedbed")]
    assert text.startswith(f"#!{ENVIRONMENT}/bin/python\n")
    compile(text, "seedbed", "exec")
    assert "from seedbed.cli import main" in text


def test_two_nodes_share_no_address_bridge_socket_or_folder() -> None:
    one, two = NodePaths(number=1), NodePaths(number=2)
    for fact in ("name", "address", "bridge", "home", "socket"):
        assert getattr(one, fact) != getattr(two, fact), fact
    assert not {*network_addresses(one)} & {*network_addresses(two)}


def test_runtimes_differ_in_their_mounts_alone() -> None:
    config = tomllib.loads(containerd_config(NodePaths(number=1)))
    runtimes = config["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    specs = {name: runtime.pop("base_runtime_spec") for name, runtime in runtimes.items()}
    assert specs == {
        "runc": "/run/seedbed/node1/mounted.json",
        "plain": "/run/seedbed/node1/plain.json",
        "own": "/run/seedbed/node1/own.json",
    }
    assert runtimes["runc"] == runtimes["plain"] == runtimes["own"]


def test_kubelet_makes_its_cgroups_below_the_one_it_was_given() -> None:
    path = Path("/any")
    text = kubelet_config(
        NodePaths(number=2), cgroup="/box/node2", authority=path, certificate=path, key=path
    )
    config = yaml.safe_load(text)
    assert config["cgroupRoot"] == "/box/node2"
    assert config["cgroupsPerQOS"] is True
    assert config["containerRuntimeEndpoint"] == "unix:///run/containerd/node2.sock"


def network_addresses(paths: NodePaths) -> list[str]:
    ipam = json.loads(network_config(paths))["plugins"][0]["ipam"]
    return [ipam["dataDir"], *(each["subnet"] for each in ipam["ranges"][0])]
