"""The driver's endpoint: progress, health, and who has heard that the attempt is over."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time

import pytest

from seedbed.pods.driver_endpoint import WorkerRegistry, listen_early, serve_endpoint
from seedbed.pods.pod_settings import WorkerSettings
from seedbed.pods.worker_pod import DriverClient
from support.servers.endless_server import endless_server
from unit.pods.worker_environment import WORKER

TOKEN = "of this job"


def get(port: int, path: str, token: str = TOKEN) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    return response.status, response.read()


def test_it_tells_progress_and_health() -> None:
    with serve_endpoint(0, progress=lambda: b'{"step": 3}', workers=WorkerRegistry(), token=TOKEN) as port:
        assert get(port, "/progress") == (200, b'{"step": 3}')
        assert get(port, "/healthz") == (200, b"ok\n")
        assert get(port, "/elsewhere")[0] == 404


def test_who_asks_before_there_is_an_answer_waits_for_it() -> None:
    """The first probe of a kubelet comes while the driver still starts; one that is refused is a Warning."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen_early({"SEEDBED_PROGRESS_PORT": str(port)})
    with socket.create_connection(("127.0.0.1", port)) as early:
        early.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with serve_endpoint(port, progress=lambda: b"{}", workers=WorkerRegistry(), token=TOKEN) as served:
            assert served == port
            early.settimeout(120)
            assert early.recv(64).startswith(b"HTTP/1.0 200")


@pytest.mark.parametrize("port", ["", "x", "-1", "99999", "0", "65536000000000000"])
def test_a_port_that_is_none_is_told_by_who_serves_it(port: str) -> None:
    listen_early({"SEEDBED_PROGRESS_PORT": port})
    with serve_endpoint(0, progress=lambda: b"{}", workers=WorkerRegistry(), token=TOKEN) as served:
        assert get(served, "/healthz")[0] == 200


def test_progress_that_cannot_be_told_is_a_failed_request_and_no_more() -> None:
    def broken() -> bytes:
        raise RuntimeError("half way between two states")

    with serve_endpoint(0, progress=broken, workers=WorkerRegistry(), token=TOKEN) as port:
        assert get(port, "/progress") == (500, b"RuntimeError: half way between two states\n")
        assert get(port, "/healthz")[0] == 200


def test_an_asker_who_does_not_wait_leaves_no_trace_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    asked, gone, others = threading.Event(), threading.Event(), set(threading.enumerate())

    def late() -> bytes:
        asked.set()
        assert gone.wait(120)
        return b"x" * 10_000_000

    with serve_endpoint(0, progress=late, workers=WorkerRegistry(), token=TOKEN) as port:
        with socket.create_connection(("127.0.0.1", port)) as asker:
            reset = struct.pack("ii", 1, 0)
            asker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            asker.sendall(b"GET /progress HTTP/1.0\r\n\r\n")
            assert asked.wait(120)
        gone.set()
        until = time.monotonic() + 120
        while any("process_request" in thread.name for thread in set(threading.enumerate()) - others):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert "Traceback" not in capfd.readouterr().err


def test_workers_are_needed_until_the_end_and_the_end_waits_for_them() -> None:
    workers = WorkerRegistry()
    with serve_endpoint(0, progress=lambda: b"", workers=workers, token=TOKEN) as port:
        assert get(port, "/needed?pod=a") == (200, b'{"needed": true}')
        assert get(port, "/needed?pod=b") == (200, b'{"needed": true}')
        ending = threading.Thread(target=lambda: workers.end(patience=300))
        ending.start()
        while get(port, "/needed?pod=a") != (200, b'{"needed": false}'):
            time.sleep(0.01)
        ending.join(timeout=0.2)
        assert ending.is_alive(), "b has not heard of it"
        assert get(port, "/needed?pod=b") == (200, b'{"needed": false}')
        ending.join(timeout=60)
        assert not ending.is_alive()


def test_workers_hear_how_far_the_training_is_for_what_they_log() -> None:
    workers = WorkerRegistry()
    with serve_endpoint(0, progress=lambda: b"", workers=workers, token=TOKEN) as port:
        head = a_worker_of(port)
        assert (head.is_needed(), head.log_context) == (True, {})
        workers.step = lambda: 7
        assert (head.is_needed(), head.log_context) == (True, {"step": 7})


def a_worker_of(port: int) -> DriverClient:
    there = {"SEEDBED_RAY_ADDRESS": "127.0.0.1:6379", "SEEDBED_PROGRESS_PORT": str(port)}
    return DriverClient(WorkerSettings.from_env({**WORKER, **there, "RAY_AUTH_TOKEN": TOKEN}))


def test_an_answer_without_end_is_none() -> None:
    with endless_server() as server:
        assert a_worker_of(server.server_port).is_needed() is None
        assert server.sent < 1_000, "64 KiB each"


@pytest.mark.parametrize("answer", [b"3", b"[]", b"null", b"{}", b'{"step": 1}', b"[" * 70_000, b"{"])
def test_an_answer_of_another_shape_is_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply() -> None:
            with listening.accept()[0] as asked:
                asked.recv(65_536)
                asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

        threading.Thread(target=reply, daemon=True).start()
        assert a_worker_of(listening.getsockname()[1]).is_needed() is None


def test_strangers_are_not_told_and_not_waited_for() -> None:
    workers = WorkerRegistry()
    with serve_endpoint(0, progress=lambda: b"", workers=workers, token=TOKEN) as port:
        assert get(port, "/needed?pod=a", token="of another")[0] == 401
    began = time.monotonic()
    workers.end(patience=300)
    assert time.monotonic() - began < 150, "the patience was used"


def test_a_worker_that_is_gone_is_not_waited_for_for_long() -> None:
    workers = WorkerRegistry()
    workers.ask("gone")
    began = time.monotonic()
    workers.end(patience=0.2)
    assert time.monotonic() - began > 0.1


def test_a_port_that_is_taken_is_told() -> None:
    with serve_endpoint(0, progress=lambda: b"", workers=WorkerRegistry(), token=TOKEN) as port:
        again = serve_endpoint(port, progress=lambda: b"", workers=WorkerRegistry(), token=TOKEN)
        with pytest.raises(OSError, match="in use"):
            again.__enter__()
