from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
import ray

from seedbed.augmentation import Resize
from seedbed.feed import open_feed
from seedbed.feed.sample_stream import SampleStream
from seedbed_api.errors import UserError
from support.datasets.small_datasets import a_dataset, a_stream
from support.datasets.tampering import CHANGES
from support.datasets.task_datasets import LOSSES, a_task_dataset
from support.eventually import eventually

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 << 20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    a_dataset(folder)
    return folder


def bits(batch):
    return (
        batch.step,
        batch.leaf,
        batch.rows_m.tobytes(),
        batch.labels_m.tobytes(),
        batch.pixels_mhwc.tobytes(),
    )


def served(kind, spec, *, leaves=None, steps=None):
    leaves, steps = leaves or range(spec.leaves), steps or range(spec.total_steps)
    with open_feed(kind, spec, leaves=leaves, steps=steps) as batches:
        return [bits(batch) for batch in batches]


@pytest.mark.parametrize(
    ("leaves", "steps"),
    [(range(4), range(9)), (range(1, 3), range(9)), (range(4), range(5, 9)), (range(3, 4), range(8, 9))],
    ids=["everything", "leaves of the second of three workers", "a resume", "the last micro-batch"],
)
def test_both_feeds_have_the_same_bits(cluster, folder, leaves, steps):
    spec = a_stream(folder)
    want = served("Local", spec, leaves=leaves, steps=steps)
    assert len(want) == len(leaves) * len(steps)
    assert served("RayData", spec, leaves=leaves, steps=steps) == want


@pytest.mark.parametrize("task", LOSSES)
def test_both_feeds_have_the_same_targets(cluster, tmp_path, task):
    spec = a_stream(a_task_dataset(tmp_path, task))
    want = served("Local", spec)
    assert len({labels for *_, labels, _ in want}) > 1
    assert served("RayData", spec) == want


def test_many_read_tasks_stay_in_order(cluster, folder, monkeypatch):
    monkeypatch.setattr("seedbed.feed.ray_data_source.MICRO_BATCHES_PER_TASK", 8)
    spec = a_stream(folder, total_steps=60)
    assert served("RayData", spec) == served("Local", spec)


@pytest.mark.parametrize("mutation", ["swap", "repeat"])
def test_check_of_the_check_a_feed_that_moves_one_row_is_seen(cluster, folder, monkeypatch, mutation):
    spec = a_stream(folder)
    want = served("RayData", spec)
    honest = SampleStream.images

    def wrong(self, rows_m, epochs_m, transforms):
        moved = rows_m[::-1] if mutation == "swap" else np.repeat(rows_m[:1], len(rows_m))
        return honest(self, moved, epochs_m, transforms)

    monkeypatch.setattr(SampleStream, "images", wrong)
    assert served("Local", spec) != want


def test_the_feed_runs_while_all_cpus_are_held(cluster, folder):
    @ray.remote(num_cpus=2)
    class Trainer:
        def consume(self, spec):
            return served("RayData", spec)

    spec = a_stream(folder)
    trainer = Trainer.remote()
    assert ray.get(trainer.consume.remote(spec), timeout=600) == served("Local", spec)
    ray.kill(trainer)


def test_a_damaged_shard_is_the_users_error_in_one_line(cluster, tmp_path):
    a_dataset(tmp_path)
    shard = sorted((tmp_path / "shards").glob("*.arrow"))[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError) as caught:
        served("RayData", a_stream(tmp_path))
    assert caught.value.reason == "InvalidDataset"
    assert "differs from the manifest (sha256)" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["labels of two rows", "an image", "labels, all digests renewed"])
def test_a_row_that_the_digest_does_not_commit_to_is_the_users_error_in_one_line(cluster, tmp_path, name):
    digest = a_dataset(tmp_path)
    (tmp_path / "versions").mkdir()
    change, says = CHANGES[name]
    change(tmp_path)
    with pytest.raises(UserError) as caught:
        served("RayData", a_stream(tmp_path, digest=digest))
    assert caught.value.reason == "InvalidDataset"
    assert [word for word in says if word != "train-" and word not in caught.value.message] == []
    assert "\n" not in caught.value.message


def test_leaving_early_ends_the_execution(cluster, folder):
    spec = a_stream(folder, total_steps=4000)
    with open_feed("RayData", spec, leaves=range(4), steps=range(4000)) as batches:
        next(batches)
    eventually(_executors, lambda found: not found, what="the end of Ray Data's executions", seconds=300)


def _executors():
    return [thread for thread in threading.enumerate() if thread.name.startswith("StreamingExecutor")]


def test_pixels_are_not_copied(cluster, folder):
    spec = a_stream(folder, transforms=(Resize(size=160),))  # large enough for the object store
    with open_feed("RayData", spec, leaves=range(4), steps=range(2)) as batches:
        batch = next(batches)
    assert not batch.pixels_mhwc.flags.writeable
