"""CSV files and tables with URLs: images are fetched once each, and what failed is in the report by URL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from seedbed_api.errors import InfrastructureError, UserError
from support.datasets.image_files import build, png, two_classes, write_files
from support.datasets.tables import rows_of, write_parquet
from support.servers.range_server import RangeHandler
from support.storage.closed_port import closed_port


class CountingHandler(RangeHandler):
    asked: ClassVar[Counter[str]] = Counter()
    failing: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:  # noqa: N802 - the name of http.server
        self.asked[self.path] += 1
        if self.path.startswith("/page"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\n<!DOCTYPE html><title>This picture is gone</title>")
        elif self.path.startswith("/forbidden"):
            self.send_error(403)
        elif self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
        elif self.failing[self.path]:
            self.failing[self.path] -= 1
            self.send_error(503)
        else:
            super().do_GET()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "images")


@pytest.fixture
def url(images: Path) -> Iterator[str]:
    CountingHandler.asked.clear()
    CountingHandler.failing.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(CountingHandler, directory=str(images)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def listing(images: Path, url: str, more: str = "") -> str:
    lines = [f"{url}/{row['path']},{row['label']}\n" for row in rows_of(images)]
    return "image,label\n" + "".join(lines) + more


def test_urls_give_the_digest_of_their_images_and_are_asked_once(
    images: Path, url: str, tmp_path: Path
) -> None:
    CountingHandler.failing.update({"/cat/3.png": 2, "/dog/4.png": 1})
    wanted = build(images, tmp_path / "wanted").manifest.digest
    write_files(tmp_path / "csv", {"urls.csv": listing(images, url).encode()})
    assert build(tmp_path / "csv", tmp_path / "ds", csv="urls.csv").manifest.digest == wanted
    assert sum(CountingHandler.asked.values()) == 40 + 3
    (images / "cat/0.png").rename(images / "cat/é 0.png")
    write_files(tmp_path / "moved", {"urls.csv": listing(images, url).encode()})
    assert build(tmp_path / "moved", tmp_path / "ds3", csv="urls.csv").manifest.digest == wanted
    rows = rows_of(images)
    table = pa.table(
        {"image": [f"{url}/{row['path']}?size=1" for row in rows], "label": [row["label"] for row in rows]}
    )
    write_parquet(tmp_path / "parquet/urls.parquet", table)
    assert build(tmp_path / "parquet", tmp_path / "ds2").manifest.digest == wanted


def test_what_fails_is_in_the_report_by_url(images: Path, url: str, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{closed_port()}/dead.png"
    bad = [
        f"{url}/gone.png",
        f"{url}/page.png",
        f"{url}/forbidden.png",
        f"{url}/away.png",
        dead,
        "file:///etc/passwd",
    ]
    text = listing(images, url, "".join(f"{one},cat\n" for one in bad))
    write_files(tmp_path / "csv", {"urls.csv": text.encode()})
    built = build(tmp_path / "csv", tmp_path / "ds", csv="urls.csv", on_error="skip")
    found = {file["path"]: file["kind"] for file in built.report.document()["refused"]["files"]}
    kinds = ["missing-file", "not-an-image", "unreadable", "unreadable", "unreachable", "outside-source"]
    assert found == dict(zip(bad, kinds, strict=True))
    assert built.manifest.digest == build(images, tmp_path / "wanted").manifest.digest


def test_without_skip_a_page_is_the_users_and_a_dead_host_may_be_tried_again(
    images: Path, url: str, tmp_path: Path
) -> None:
    for name, line, kind, words in (
        ("page", f"{url}/page.png,cat\n", UserError, r"page\.png \(not-an-image\)"),
        ("dead", f"http://127.0.0.1:{closed_port()}/a.png,cat\n", InfrastructureError, "127.0.0.1"),
    ):
        write_files(tmp_path / name, {"urls.csv": listing(images, url, line).encode()})
        with pytest.raises(kind, match=words):
            build(tmp_path / name, tmp_path / f"{name}-ds", csv="urls.csv")
        assert not (tmp_path / f"{name}-ds").exists()


def test_a_network_that_is_down_is_no_empty_dataset(tmp_path: Path) -> None:
    port = closed_port()
    write_files(
        tmp_path / "csv",
        {"a.png": png(1), "urls.csv": f"image,label\nhttp://127.0.0.1:{port}/a.png,cat\n".encode()},
    )
    with pytest.raises(InfrastructureError):
        build(tmp_path / "csv", tmp_path / "ds", csv="urls.csv", on_error="skip")
