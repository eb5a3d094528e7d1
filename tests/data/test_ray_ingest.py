"""Building on a real Ray: the same digest as in one process, errors of tasks as our own, no sample in the driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.reader import open_dataset
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError, UserError
from support.datasets.image_files import build, jpeg, png, two_classes, write_files

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def one_ray():
    """Start one Ray for the module; the engine uses what runs already."""
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_ray_and_one_process_build_the_same_dataset(tmp_path) -> None:
    files = {
        f"{'abc'[n % 3]}/{n}.{'jpg' if n % 2 else 'png'}": jpeg(n) if n % 2 else png(n) for n in range(700)
    }
    files |= {
        "a/cut.png": png(1, height=50)[:300],
        "b/copy.png": files["b/4.png"],
        "c/conflict.png": files["a/0.png"],
    }
    source = write_files(tmp_path / "source", files)
    local = build(source, tmp_path / "local", on_error="skip", image_size=16)
    many = build(
        source,
        tmp_path / "ray",
        on_error="skip",
        image_size=16,
        engine="ray",
        parallelism=2,
        batch_bytes=30_000,
    )
    assert many.manifest.digest == local.manifest.digest
    assert many.manifest.contents == local.manifest.contents
    assert many.report.document() == local.report.document()
    assert many.manifest.total == 699
    assert check_dataset(open_dataset(open_storage(str(tmp_path / "ray")))) == []


def test_ray_and_one_process_extend_to_the_same_dataset(tmp_path) -> None:
    digests = []
    for engine in ("local", "ray"):
        source = two_classes(tmp_path / engine)
        build(source, tmp_path / f"{engine}-ds", engine=engine)
        write_files(source, {f"emu/{n}.png": png(9_000 + n) for n in range(20)})
        digests.append(build(source, tmp_path / f"{engine}-ds", engine=engine, append=True).manifest.digest)
    assert digests[0] == digests[1]


def test_the_users_error_of_a_task_is_the_users_error_of_the_build(tmp_path) -> None:
    """The source changes between the passes: the error is raised inside a task on another process."""
    source = two_classes(tmp_path / "source")

    def meddle(stage: str, done: int, total: int) -> None:
        if stage == "inspecting" and done == total:
            (source / "dog/3.png").write_bytes(png(12_345))

    options = BuildOptions(engine="ray", parallelism=2)
    with pytest.raises(UserError, match="changed during the build") as caught:
        build_dataset(
            open_storage(str(source)), open_storage(str(tmp_path / "ds")), options=options, progress=meddle
        )
    assert caught.value.reason == "SourceChanged"
    assert not (tmp_path / "ds/manifest.json").exists()


class Busy(SimpleHTTPRequestHandler):
    """Serves the CSV and is too busy for every image."""

    def do_GET(self) -> None:
        if self.path.endswith(".csv"):
            super().do_GET()
        else:
            self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


def test_trouble_of_the_store_in_a_task_is_one_error_that_a_retry_may_help(tmp_path) -> None:
    (tmp_path / "labels.csv").write_text("image,label\n1.png,a\n2.png,b\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Busy, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        source = open_storage(f"http://127.0.0.1:{server.server_port}")
        options = BuildOptions(engine="ray", parallelism=2, csv="labels.csv")
        with pytest.raises(InfrastructureError) as caught:
            build_dataset(source, open_storage(str(tmp_path / "ds")), options=options)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "\n" not in caught.value.message


def test_the_command_starts_and_stops_a_ray_of_its_own(tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    code = "from seedbed.cli import main; main()"
    arguments = ["dataset", "build", str(source), str(tmp_path / "ds"), "--engine", "ray", "-o", "json"]
    arguments += ["--shard-bytes", "2000"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == build(source, Path(tmp_path / "ds2")).manifest.digest
    said = done.stderr.splitlines()
    assert [line for line in said if not line.startswith(("inspecting: ", "writing: "))] == []
