"""Datasets under every kind of URL: memory, HTTP (read only) and a real S3 server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.dataset.comparison import compare_datasets
from seedbed.dataset.extension import extend_dataset
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.lineage import list_versions
from seedbed.dataset.reader import open_dataset
from seedbed.dataset.row_sampling import SampleOptions, sample_rows
from seedbed.dataset.row_statistics import measure_dataset
from seedbed.dataset.statistics_report import statistics_document
from seedbed.dataset.version_reference import open_version, parse_reference
from seedbed.dataset.version_tags import list_tags, set_tag
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, two_classes
from support.servers.range_server import RangeHandler
from testbed.gateway import Gateway


@pytest.fixture
def http_url(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def test_a_dataset_in_memory_has_the_digest_of_the_one_on_disk(tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    on_disk = build(source, tmp_path / "ds").manifest
    dest = open_storage("memory://test-dataset-urls")
    built = build_dataset(
        open_storage(str(source)), dest, options=BuildOptions(parallelism=2, shard_bytes=2_000)
    ).manifest
    assert built.digest == on_disk.digest
    assert check_dataset(open_dataset(dest)) == []


def test_a_dataset_is_read_over_http_by_ranges(http_url, tmp_path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "ds")
    remote, local = (
        open_dataset(open_storage(f"{http_url}/ds")),
        open_dataset(open_storage(str(tmp_path / "ds"))),
    )
    assert remote.manifest == local.manifest
    assert remote.read_batch(1, 1) == local.read_batch(1, 1)
    assert np.array_equal(remote.view(subset="0.5").row_numbers(), local.view(subset="0.5").row_numbers())
    assert check_dataset(remote) == []


def test_a_csv_of_images_over_http_is_a_source(http_url, tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    paths = sorted(path.relative_to(source) for path in source.rglob("*.png"))
    (source / "labels.csv").write_text("image,label\n" + "".join(f"{path},{path.parent}\n" for path in paths))
    options = BuildOptions(csv="labels.csv", parallelism=2, shard_bytes=2_000)
    built = build_dataset(
        open_storage(f"{http_url}/source"), open_storage(str(tmp_path / "remote")), options=options
    )
    assert built.manifest.digest == build(source, tmp_path / "local", csv="labels.csv").manifest.digest


def test_images_that_a_server_does_not_give_are_refused_by_name_or_left_out(http_url, tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    paths = sorted(path.relative_to(source) for path in source.rglob("*.png"))
    (source / "labels.csv").write_text("image,label\n" + "".join(f"{path},{path.parent}\n" for path in paths))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/HTTP_BEARER_TOKEN").write_text("closed")
    remote = open_storage(f"{http_url}/source", secret=tmp_path / "secret")
    dest, options = open_storage(str(tmp_path / "ds")), BuildOptions(csv="labels.csv", parallelism=2)
    with pytest.raises(UserError, match=r"cat/7\.png \(unreadable\), cat/8\.png \(unreadable\)"):
        build_dataset(remote, dest, options=options)
    built = build_dataset(remote, dest, options=replace(options, on_error="skip"))
    assert (built.manifest.total, dict(built.report.refused.counts)) == (38, {"unreadable": 2})


@pytest.mark.s3
@pytest.mark.ray
def test_source_and_dataset_on_s3_have_the_digest_of_the_local_ones(s3: Gateway, tmp_path) -> None:
    local = two_classes(tmp_path / "source")
    bucket, secret = s3.bucket(), s3.secret(tmp_path / "secret")
    source, dest = (open_storage(f"{bucket}/{name}", secret=secret) for name in ("source", "ds"))
    for path in sorted(local.rglob("*.png")):
        source.put(str(path.relative_to(local)), path.read_bytes())
    on_disk = build(local, tmp_path / "ds").manifest.digest
    for engine, folder in (("local", dest.child("local")), ("ray", dest.child("ray"))):
        options = BuildOptions(engine=engine, parallelism=2, shard_bytes=2_000, batch_bytes=500)
        assert build_dataset(source, folder, options=options).manifest.digest == on_disk
        assert check_dataset(open_dataset(folder)) == []


@pytest.mark.s3
def test_versions_tags_and_comparisons_on_s3_are_those_on_disk(s3: Gateway, tmp_path) -> None:
    """The commands of versions use lists, exclusive creation and ranges, and give the same digests."""
    source, more = two_classes(tmp_path / "source"), two_classes(tmp_path / "more", first_seed=900)
    options = BuildOptions(parallelism=1, shard_bytes=2_000, batch_bytes=500)
    found, secret = [], s3.secret(tmp_path / "secret")
    for url in (f"{s3.bucket()}/ds", str(tmp_path / "ds")):
        dest = open_storage(url, secret=secret)
        first = build_dataset(open_storage(str(source)), dest, options=options).manifest
        assert set_tag(dest, "v1", first.digest, move=False)
        extended = extend_dataset(open_storage(str(more)), dest, options=options)
        with pytest.raises(UserError, match="it names version"):
            set_tag(dest, "v1", extended.result.manifest.digest, move=False)
        old, new = (
            open_version(parse_reference(f"{url}{version}"), secret=secret) for version in ("@v1", "")
        )
        compared = compare_datasets(old, new, check_images=True)
        drawn = [row.id for row in sample_rows(new, SampleOptions(rows=5))]
        measured = statistics_document(measure_dataset(new, distance=3), listed=3) | {"url": ""}
        versions = [(one.digest, one.parent, one.rows) for one in list_versions(dest)]
        found.append((extended.addition, compared.counts, drawn, measured, versions, list_tags(dest)))
    assert found[0] == found[1]
