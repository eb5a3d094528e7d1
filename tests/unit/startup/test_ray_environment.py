"""A Ray of this machine takes nothing from the shell that is meant for another one, and finds a folder."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from seedbed.dataset.ray_ingest import _RAY_ENVIRONMENT
from seedbed.pods import ray_node
from seedbed.ray_cluster.local_ray import SETTINGS, prepare_environment
from seedbed.startup import ray_environment
from seedbed.startup.ray_environment import clean_environment, temporary_folder, token_settings
from seedbed_api.errors import InfrastructureError, UserError
from support.runs.foreign_ray_variables import OF_OTHERS

KEPT = {
    "PATH": "/bin",
    "SLURM_JOB_ID": "7",
    "http_proxy": "http://proxy:3128",
    "TMPDIR": "/tmp",
    "RAY_TMPDIR": "/tmp",
    "RAY_memory_usage_threshold": "0.99",
    "NCCL_DEBUG": "INFO",
    "CUDA_VISIBLE_DEVICES": "0",
    "TRANK": "1",
    "ARRAY_ADDRESS": "x",
}


def test_what_is_meant_for_other_rays_and_groups_is_removed():
    own = {"RAY_gcs_storage": "redis", "GLOO_SOCKET_IFNAME": "eth77", "GLOO_DEVICE_TRANSPORT": "TCP_TLS"}
    environ = OF_OTHERS | KEPT | own
    prepare_environment(environ)
    assert environ == KEPT | SETTINGS | token_settings()
    assert environ["GLOO_SOCKET_IFNAME"] == "lo"


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_what_training_needs_is_set_whatever_the_shell_says(name):
    environ = {name: "theirs"}
    prepare_environment(environ)
    assert environ[name] == SETTINGS[name]


def test_a_dataset_is_built_by_a_ray_with_its_own_settings():
    environ = dict(OF_OTHERS | KEPT)
    clean_environment(environ, _RAY_ENVIRONMENT)
    assert environ == KEPT | _RAY_ENVIRONMENT
    assert environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"


def test_a_pod_keeps_what_the_operator_and_the_profile_set():
    own = {"RAY_AUTH_TOKEN": "secret", "GLOO_SOCKET_IFNAME": "eth0", "RAY_object_spilling_threshold": "0.9"}
    environ = OF_OTHERS | KEPT | own
    ray_node.set_ray_variables(environ)
    assert (KEPT | own).items() <= environ.items()
    assert not {*OF_OTHERS} & {*environ}


@pytest.mark.parametrize("value", ["", "much", "-1", "1e400", "0.9 ", "1.5", "95"])
def test_a_limit_of_memory_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="RAY_memory_usage_threshold: is not a share from 0 to 1"):
        prepare_environment({"RAY_memory_usage_threshold": value})
    with pytest.raises(UserError, match="RAY_memory_monitor_refresh_ms: is not a number of milliseconds"):
        prepare_environment({"RAY_memory_monitor_refresh_ms": f"{value}s"})


@pytest.fixture
def short() -> Path:
    """Return a folder whose path is short enough."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_the_folder_that_a_variable_names_is_taken(short):
    assert temporary_folder({"TMPDIR": str(short)}) == f"{short}/ray-{os.geteuid()}/ray"
    assert (
        temporary_folder({"TMPDIR": "/nowhere", "RAY_TMPDIR": str(short)})
        == f"{short}/ray-{os.geteuid()}/ray"
    )


def test_a_folder_that_cannot_be_had_gives_way_to_the_next(short, monkeypatch):
    monkeypatch.setattr(ray_environment, "_COMMON_FOLDERS", (str(short),))
    too_long = short / ("l" * 100)
    too_long.mkdir()
    for folder in (too_long, short / "missing", Path("/proc"), Path("/dev/null")):
        assert temporary_folder({"TMPDIR": str(folder)}) == f"{short}/ray-{os.geteuid()}/ray"
    assert temporary_folder({}) == f"{short}/ray-{os.geteuid()}/ray"


def test_a_socket_of_the_longest_folder_fits(short, monkeypatch):
    monkeypatch.setattr(ray_environment, "_COMMON_FOLDERS", ())
    longest = short / ("l" * (ray_environment.longest_folder() - len(str(short)) - 1))
    longest.mkdir()
    folder = temporary_folder({"TMPDIR": str(longest)})
    assert len(folder + ray_environment._LONGEST_SUBPATH) == 107
    further = Path(f"{longest}l")
    further.mkdir()
    with pytest.raises(UserError, match=rf"TMPDIR: no folder .*longer than {len(str(longest))} bytes"):
        temporary_folder({"TMPDIR": str(further)})


def test_other_users_cannot_enter_the_folder_of_ray(short):
    private = short / f"ray-{os.geteuid()}"
    private.mkdir(mode=0o777)
    private.chmod(0o777)
    temporary_folder({"TMPDIR": str(short)})
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("planted", ["folder", "link", "file"])
def test_a_folder_that_another_user_has_planted_is_not_taken(short, monkeypatch, planted):
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(ray_environment, "_COMMON_FOLDERS", ())
    place, elsewhere = short / "ray-4242", short / "elsewhere"
    elsewhere.mkdir()
    {"folder": place.mkdir, "link": lambda: place.symlink_to(elsewhere), "file": place.touch}[planted]()
    with pytest.raises(UserError, match=r"TMPDIR: no folder .*ray-4242 is not a folder of this user"):
        temporary_folder({"TMPDIR": str(short)})
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, InfrastructureError, "no space left on device"),
        (errno.EDQUOT, InfrastructureError, "disk quota exceeded"),
        (errno.EROFS, UserError, "read-only file system"),
        (errno.EACCES, UserError, "permission denied"),
    ],
)
def test_no_folder_at_all_is_one_line_that_names_the_variable(short, monkeypatch, code, kind, words):
    def refused(**_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    monkeypatch.setattr(ray_environment, "_COMMON_FOLDERS", ("/var/tmp",))
    with pytest.raises(kind, match=f"TMPDIR: .*{short}: {words}; /var/tmp: {words}.*set TMPDIR to") as caught:
        temporary_folder({"TMPDIR": str(short)})
    assert "\n" not in caught.value.message
