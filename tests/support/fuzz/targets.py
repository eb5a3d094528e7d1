"""What is fuzzed: each format that strangers can write, with valid seeds and the errors that its reader may raise."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import rfc8785
from PIL import Image

from seedbed.dataset.file_format import load_manifest
from seedbed.dataset.manifest_check import require_committed, require_consistent
from seedbed.dataset.shard_io import Row, ShardEncoder, decode_index
from seedbed.images.image_conversion import BadImage, StoredFormat, inspect
from seedbed.images.image_decoder import UndecodableImageError, decode
from seedbed.receipts import statement, to_bytes, verify_receipt
from seedbed.receipts.receipt_statement import seal_of
from seedbed.runs.checkpoint_store import CheckpointRecord, checkpoint_record
from seedbed.runs.sealed_json import seal
from seedbed.runs.tensor_serialization import deserialize, serialize
from seedbed.usercode.source_digest import SourceFiles
from seedbed.usercode.wheel_files import pack_wheel, read_wheel
from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import validate_document
from seedbed_api.pod_contract.driver_messages import LiveProgress, parse_outcome
from seedbed_api.trainingjob_status import Metric
from seedbed_api.yaml_documents import parse
from support.datasets.small_datasets import a_dataset
from support.fuzz.mutations import mutated_bytes, mutated_json, mutated_text
from support.manifests.base_manifests import BASES
from support.operator.builders import an_outcome, live
from support.runs.example_receipt import DECIDED, EXECUTION

MOST_PROBLEMS = 200
"""A job manifest has a line for each problem."""
DIGEST = f"sha256:{'a' * 64}"


@dataclass(frozen=True)
class Target:
    """A reader of bytes, how to make odd ones, and what it may raise."""

    make: Callable[[Random], bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    cases: int
    """How many the exhaustive tier makes."""
    lines: int = 1
    """Most lines of an error."""


def job_manifest() -> Target:
    """YAML of a job, as people and controllers write it."""
    bases = [BASES[kind] for kind in ("TrainingJob", "SweepJob")]

    def read(data: bytes) -> None:
        for document in parse(data.decode(errors="replace"), "job.yaml"):
            validate_document(document.content if hasattr(document, "content") else document)

    return Target(
        lambda random: mutated_text(random, random.choice(bases)),
        read,
        (UserError,),
        25_000,
        lines=MOST_PROBLEMS,
    )


def dataset_manifest() -> Target:
    """`manifest.json`, its seal renewed as a forger would."""
    with tempfile.TemporaryDirectory() as folder:
        a_dataset(Path(folder))
        document = json.loads((Path(folder) / "manifest.json").read_bytes())
    del document["sha256"]

    def make(random: Random) -> bytes:
        if random.random() < 0.3:
            return mutated_text(random, document)
        changed = mutated_json(random, document)
        try:
            return rfc8785.dumps(changed | {"sha256": hashlib.sha256(rfc8785.dumps(changed)).hexdigest()})
        except rfc8785.CanonicalizationError:
            return json.dumps(changed).encode()

    def read(data: bytes) -> None:
        manifest = load_manifest(data, where="here")
        require_consistent(manifest, where="here")
        if all(shard.rows_sha256 is not None for shard in manifest.shards):  # else the indices are read
            require_committed(manifest, path="manifest.json", where="here")

    return Target(make, read, (UserError,), 150_000)


def shard_index() -> Target:
    """The Arrow file of a shard's index."""
    encoder = ShardEncoder(batch_bytes=2_000)
    for number in range(20):
        name = number.to_bytes(32, "big")
        encoder.add(Row(image=name * 8, label=number % 3, id=name, key=name))
    seeds = [encoder.finish().index]
    table = pa.ipc.open_file(pa.py_buffer(seeds[0])).read_all()
    for compression in ("lz4", "zstd"):
        sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        seeds.append(sink.getvalue())
    refusals = (ValueError, OSError, pa.ArrowException)
    return Target(lambda random: mutated_bytes(random, seeds), decode_index, refusals, 150_000)


def checkpoint_record_target() -> Target:
    """The sealed record of a checkpoint, resealed."""
    tensors = {"model.weight": np.ones((3, 4), np.float32), "optimizer.step": np.zeros(1, np.int64)}
    record = checkpoint_record(
        run_id=DIGEST, trajectory_id=DIGEST, step=3, tensors=tensors, ledger_chain=b"\0" * 32, evaluations=()
    )
    document = {key: value for key, value in json.loads(record.to_bytes()).items() if key != "digest"}

    def make(random: Random) -> bytes:
        try:
            return seal(mutated_json(random, document))
        except (AssertionError, rfc8785.CanonicalizationError):
            return mutated_text(random, document)

    return Target(make, CheckpointRecord.from_bytes, (ValueError, KeyError), 150_000)


def checkpoint_blob() -> Target:
    """The safetensors file of a checkpoint or a model."""
    seeds = [
        serialize({"weight": np.ones((3, 4), np.float32), "bias": np.zeros(4)}),
        serialize({f"layer{n}": np.arange(n, dtype=np.int64) for n in range(8)}),
    ]
    return Target(lambda random: mutated_bytes(random, seeds), deserialize, (ValueError,), 150_000)


def receipt() -> Target:
    """A receipt, its seal renewed as a forger would."""
    document = statement(DECIDED, EXECUTION)

    def make(random: Random) -> bytes:
        changed = mutated_json(random, document)
        if random.random() < 0.3:
            return mutated_text(random, document)
        try:
            byproducts = changed["predicate"]["runDetails"]["byproducts"]
            byproducts[-1] = seal_of(changed)
            return to_bytes(changed)
        except Exception:  # what cannot be sealed is tried as it is
            return json.dumps(changed).encode()

    def read(data: bytes) -> None:
        verify_receipt(data, shown="receipt.json")

    return Target(make, read, (UserError,), 100_000)


def wheel() -> Target:
    """A wheel of user code."""
    files = {"net/__init__.py": b"x = 1\n" * 40, "net/data.txt": b"abc" * 100}
    seeds = [pack_wheel(SourceFiles(files=files))]
    return Target(
        lambda random: mutated_bytes(random, seeds),
        lambda data: read_wheel(data, name="w"),
        (UserError,),
        60_000,
    )


def image() -> Target:
    """A row's image, and a source of a dataset build."""
    pixels = Image.fromarray(np.arange(12 * 9 * 3, dtype=np.uint8).reshape(9, 12, 3))
    seeds = []
    for name, options in (
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("GIF", {}),
    ):
        sink = io.BytesIO()
        pixels.save(sink, name, **options)
        seeds.append(sink.getvalue())

    def read(data: bytes) -> None:
        try:
            decode(data)
        except UndecodableImageError:
            inspect(data, "a.jpg", StoredFormat())

    refusals = (UndecodableImageError, BadImage)
    return Target(lambda random: mutated_bytes(random, seeds), read, refusals, 100_000)


def progress_message() -> Target:
    """The answer of a driver, which user code can give."""
    document = json.loads(json.dumps(live(3, metrics=(Metric(name="train/loss", value="0.5"),)).plain()))
    return Target(
        lambda random: mutated_text(random, document),
        LiveProgress.model_validate_json,
        (ValueError,),
        150_000,
    )


def termination_message() -> Target:
    """The last message of a container, which user code can write."""
    document = json.loads(an_outcome())
    return Target(lambda random: mutated_text(random, document), parse_outcome, (), 150_000)


TARGETS: dict[str, Callable[[], Target]] = {
    "job-manifest": job_manifest,
    "dataset-manifest": dataset_manifest,
    "shard-index": shard_index,
    "checkpoint-record": checkpoint_record_target,
    "checkpoint-blob": checkpoint_blob,
    "receipt": receipt,
    "wheel": wheel,
    "image": image,
    "progress-message": progress_message,
    "termination-message": termination_message,
}
