"""What users bring to a cluster before the first job: a dataset on S3, a bucket for runs, Secrets that open both."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from testbed.testbeds import Testbed

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples/digits.yaml"
DATASET = "s3://datasets/digits"
SMALL_SHARDS = ("--shard-bytes", "200000", "--batch-bytes", "20000")
"""Several shards and batches even of a small dataset."""
SECRETS = ("s3-read", "s3-write")
"""That the example names."""


def stock(testbed: Testbed, folder: Path, *options: str) -> None:
    """Build the dataset of handwritten digits into S3, and make the bucket of runs."""
    for bucket in ("datasets", "runs"):
        (testbed.s3.outside.root / bucket).mkdir(exist_ok=True)
    images = folder / "images"
    run_here([str(REPOSITORY / "examples/digits/write_digits.py"), str(images)])
    build = ["-m", "seedbed.cli", "dataset", "build", str(images), DATASET, "--parallelism", "1"]
    run_here([*build, *options], testbed.s3.outside.environment())


def give_secrets(testbed: Testbed, namespace: str) -> None:
    """Create the Secrets that jobs of a namespace name; the endpoint comes with the profile."""
    pairs = testbed.s3.inside.environment()
    keys = {name: pairs[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name in SECRETS:
        body = {"metadata": {"name": name}, "type": "Opaque", "stringData": keys}
        testbed.kube.create(f"/api/v1/namespaces/{namespace}/secrets", body)


def run_here(arguments: list[str], environment: dict[str, str] | None = None) -> str:
    """Run Python on this machine, outside the cluster, and return its output; an error carries what it said."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
