"""Another user of the machine cannot join, command, read or stop a run of `seedbed run`: real processes of another uid."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from determinism.live_run import STRANGER, LiveRun, as_stranger, live_run, said
from support.eventually import eventually
from support.gloo.foreign_bytes import connected, guesses

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can act as another user"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="not run: no setpriv"),
]

CALLS = (
    "ray.rpc.InternalKVGcsService/InternalKVGet",
    "ray.rpc.NodeManagerService/GetNodeStats",
    "ray.rpc.ObjectManagerService/Pull",
    "ray.rpc.CoreWorkerService/GetCoreWorkerStats",
)
UNAUTHENTICATED, UNIMPLEMENTED = "16", "12"
_STREAM_RESET = 92
"""Exit code of curl where the server answers before it has read the request."""
_OPEN_TO_ALL = re.compile(r"/dev/(null|zero|full|u?random|tty|ptmx|pts/\d+)")
JOINING = """
import sys
import ray
try:
    ray.init(address=sys.argv[1], _node_ip_address="127.0.0.1", log_to_driver=False)
except Exception as error:
    print("refused:", type(error).__name__, error)
else:
    print("joined with", len(ray.nodes()), "node")
"""


@pytest.fixture(scope="module")
def running(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRun]:
    with live_run(digits, tmp_path_factory.mktemp("run")) as run:
        yield run


def token_of(running: LiveRun) -> str:
    """Return the token of the run's Ray, as root can see it."""
    (token,) = {process.environ().get("RAY_AUTH_TOKEN") for process in running.tree()} - {None}
    assert token, "the daemons and ranks have a token"
    return str(token)


def test_every_port_is_on_loopback(running: LiveRun) -> None:
    listeners = running.listeners()
    assert len(listeners) >= 8, "the processes of Ray and of two ranks listen"
    assert {address.removeprefix("::ffff:") for address, _ in listeners.values()} == {"127.0.0.1"}


def join(running: LiveRun, user: list[str], environ: Mapping[str, str], scratch: Path) -> str:
    """Try to join the run's Ray as a driver of one's own."""
    (gcs,) = (port for port, (_, name) in running.listeners().items() if name.startswith("gcs_server"))
    scratch.chmod(0o777)
    common = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "USER": "stranger",
        "PYTHONDONTWRITEBYTECODE": "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
    }
    done = subprocess.run(
        [*user, sys.executable, "-c", JOINING, f"127.0.0.1:{gcs}"],
        env=common | environ, capture_output=True, text=True, check=False, timeout=600, cwd="/",
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_another_user_cannot_join_the_ray(running: LiveRun, mode: str, tmp_path: Path) -> None:
    # the right to read files alone: our Python may lie where others cannot read
    reading = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    user = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups", *reading]
    guess = {"RAY_AUTH_MODE": mode} | ({"RAY_AUTH_TOKEN": "x" * 43} if mode == "token" else {})
    answer = join(running, user, guess, tmp_path)
    assert "refused:" in answer, answer
    assert "joined with" not in answer


def test_who_has_the_token_joins(running: LiveRun, tmp_path: Path) -> None:
    """So the test before this one can fail."""
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_of(running)}
    answer = join(running, [], known, tmp_path)
    assert "joined with 1 node" in answer, answer


def grpc_status(port: int, call: str, token: str = "") -> str:
    """Return the status of a call by a stranger; empty where the port speaks no gRPC."""
    command = [
        "curl", "-s", "-m", "20", "-D", "-", "-o", "/dev/null", "--http2-prior-knowledge", "-X", "POST",
        "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-", f"http://127.0.0.1:{port}/{call}",
    ]  # fmt: skip
    if token:
        command += ["-H", f"authorization: Bearer {token}"]
    for _ in range(5):
        done = as_stranger(command, stdin=bytes(5))
        if done.returncode != _STREAM_RESET:
            break
    found = re.search(rb"grpc-status: (\d+)", done.stdout)
    return found[1].decode() if found else ""


def test_every_process_of_ray_refuses_calls_without_the_token(running: LiveRun) -> None:
    if "HTTP2" not in said(as_stranger(["curl", "--version"])):
        pytest.skip("not run: no curl that speaks HTTP/2")
    listeners = running.listeners()
    for token in ("", "x" * 43):
        answers = {
            port: {grpc_status(port, call, token) for call in CALLS} - {"", UNIMPLEMENTED}
            for port in listeners
        }
        assert not [port for port, statuses in answers.items() if statuses - {UNAUTHENTICATED}], answers
        speaking = {name for port, (_, name) in listeners.items() if answers[port]}
        assert {"gcs_server", "raylet"} <= speaking
        assert any(name.startswith("ray::RayTrainWo") for name in speaking), speaking


def test_the_agent_of_ray_refuses_requests_without_the_token(running: LiveRun) -> None:
    agents = [port for port, (_, name) in running.listeners().items() if name.startswith("ray::RuntimeEnv")]
    assert agents
    asking = ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST"]
    for port in agents:
        for path in ("get_or_create_runtime_env", "delete_runtime_env_if_possible", "get_runtime_envs_info"):
            answer = said(as_stranger([*asking, f"http://127.0.0.1:{port}/{path}"]))
            assert answer in ("401", "403"), path


def test_another_user_does_not_learn_the_token(running: LiveRun) -> None:
    token = token_of(running)
    for process in running.tree():
        assert token not in " ".join(process.cmdline()), "any user reads command lines"
        for name in ("environ", "mem", "maps", "fd", "cwd/."):
            looked = said(
                as_stranger(["ls" if name in ("fd", "cwd/.") else "cat", f"/proc/{process.pid}/{name}"])
            )
            assert "denied" in looked, f"/proc/{process.pid}/{name}: {looked[:200]}"
    session = Path(session_of(running))
    written = [path for path in session.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in written if token.encode() in path.read_bytes()], "logs outlive the run"


def session_of(running: LiveRun) -> str:
    """Return the folder of Ray, with sockets and logs of this run."""
    named = (word.partition("=")[2] for word in running.process_named("raylet").cmdline() if "_dir=" in word)
    return next(folder for folder in named if Path(folder).name.startswith("session_"))


def test_another_user_neither_reads_nor_replaces_what_the_processes_share(running: LiveRun) -> None:
    session = session_of(running)
    (private,) = (folder for folder in Path(session).parents if folder.name == f"ray-{os.geteuid()}")
    for folder in (session, str(private), f"{session}/sockets", f"{session}/logs"):
        assert "denied" in said(as_stranger(["ls", folder])), folder
    for command in (["mv", session, f"{session}-mine"], ["touch", f"{session}/sockets/raylet"]):
        assert "denied" in said(as_stranger(command))
    assert "ot permitted" in said(as_stranger(["mv", str(private), f"{private}-mine"]))


def files_of(process: psutil.Process) -> Iterator[str]:
    """Yield the paths that a process has open or mapped: files, devices, named sockets; not those that are unlinked."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):
            yield str(descriptor.readlink())
    yield from (each.path for each in process.memory_maps())
    yield from (each.laddr for each in process.net_connections(kind="unix"))


def test_no_file_or_socket_of_the_run_is_open_to_another_user(running: LiveRun) -> None:
    """Of the output, which the user has named, others may read what the user's umask allows."""
    paths: set[str] = set()
    for process in running.tree():
        with suppress(psutil.NoSuchProcess):
            paths.update(files_of(process))
    assert not [path for path in paths if path.startswith(("@", "\0"))], "abstract sockets have no rights"
    there = sorted(path for path in paths if path.startswith("/") and Path(path).exists())
    assert [path for path in there if path.endswith("/sockets/plasma_store")], there
    writable = 'for path; do [ -w "$path" ] && echo "$path"; done; true'
    assert not [
        path
        for path in said(as_stranger(["sh", "-c", writable, "sh", *there])).splitlines()
        if not _OPEN_TO_ALL.fullmatch(path)
    ]
    shared = [path for path in there if path.startswith(("/dev/shm/", session_of(running)))]
    assert said(as_stranger(["sh", "-c", writable.replace("-w", "-r"), "sh", *shared])) == ""


def test_another_user_stops_nothing(running: LiveRun) -> None:
    reached = running.checkpoints()
    for process in running.tree():
        for number in ("TERM", "KILL", "STOP", "USR1"):
            assert "ot permitted" in said(as_stranger(["kill", f"-{number}", str(process.pid)])), (
                process.name()
            )
    for port in running.listeners():
        with suppress(ConnectionError), connected(port, [*guesses(8), b"GET / HTTP/1.1\r\n\r\n", b""]):
            time.sleep(0.2)
    eventually(lambda: running.checkpoints() > reached, what="another checkpoint", seconds=600)
    assert running.process.poll() is None, running.log()
