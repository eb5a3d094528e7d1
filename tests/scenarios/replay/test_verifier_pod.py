"""`seedbed verifier` as the operator starts it: a process of its own, told by variables, that leaves one message."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seedbed.receipts import read_receipt
from seedbed.runs.owner_records import read_owner
from seedbed.storage import open_storage
from seedbed_api.canonical_json import digest_of
from seedbed_api.manifest_loader import training_job
from seedbed_api.object_metadata import ObjectMeta
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.pod_environment import VerifierEnvironment
from seedbed_api.pod_contract.verifier_messages import VerificationOutcome, parse_verification
from support.datasets.small_datasets import write_dataset
from support.runs.altered_ledgers import swapped_rows
from support.runs.small_run import a_manifest, rewrite


def verified(
    run: Path, data: Path, scratch: Path, *, receipt: Path | None = None, **changes: Any
) -> tuple[int, VerificationOutcome | None, str]:
    """Return exit code, message and log of a verifier of a run in a store of its own."""
    store = run.parent.parent
    known = read_receipt(receipt or run)
    variables = {name: changes.pop(name) for name in list(changes) if name.isupper()}
    manifest = a_manifest(data, scratch)
    manifest["spec"]["output"] = {"uri": str(store)}
    job = training_job(manifest)
    named = job.model_copy(
        update={"metadata": ObjectMeta.model_construct(name="small", namespace="team", uid="1-2")}
    )
    told: dict[str, Any] = {
        "job": named,
        "attempt": 1,
        "role": "verifier",
        "expected_run_id": known.decided.run_id,
        "receipt_digest": digest_of(known.data),
    }
    environment = VerifierEnvironment(**{**told, **changes}).to_env()
    message = scratch / "termination-log"
    ended = subprocess.run(  # noqa: PLW1510 - the exit code is looked at
        [f"{sys.prefix}/bin/seedbed", "verifier"],
        env={
            "PATH": os.environ["PATH"],
            **environment,
            **variables,
            "HOME": str(scratch),
            env_vars.TERMINATION_LOG: str(message),
        },
        capture_output=True,
        text=True,
        timeout=600,
        cwd=scratch,
    )
    said = message.read_text() if message.exists() else ""
    return ended.returncode, parse_verification(said), ended.stdout + ended.stderr


@pytest.fixture
def stored(run: Path, tmp_path: Path) -> Path:
    """Return a run in `runs/<identity>` of a store, which may be changed."""
    place = tmp_path / "store" / "runs" / run.name
    place.parent.mkdir(parents=True)
    return run.rename(place)


def test_a_run_is_reproduced_from_the_places_of_its_job(stored: Path, data: Path, tmp_path: Path) -> None:
    code, outcome, log = verified(stored, data, tmp_path)
    assert outcome is not None, log
    assert (code, outcome.result) == (0, "Reproduced")
    assert outcome.receipt_digest == digest_of((stored / "receipt.json").read_bytes())
    assert outcome.message.startswith("reproduced: steps 0..8, 8 steps recomputed from the first weights")
    assert not (stored / "signatures").exists()


@pytest.mark.parametrize("neighbour", ["holds the folder", "has removed the folder"])
def test_a_run_in_the_place_of_its_namespace_is_found(
    stored: Path, data: Path, tmp_path: Path, neighbour: str
) -> None:
    """The folder of the run is somebody else's, whose receipt is of other bytes."""
    secret = tmp_path / "secrets/owner"
    secret.mkdir(parents=True)
    (secret / "token").write_text("k" * 43)
    store = stored.parent.parent
    own = store / read_owner(secret / "token").place / "runs" / stored.name
    shutil.copytree(stored, own)
    (stored / "receipt.json").write_bytes((stored / "receipt.json").read_bytes() + b" ")
    if neighbour != "holds the folder":
        shutil.rmtree(stored)
        stored.mkdir()
    code, outcome, log = verified(
        stored, data, tmp_path, receipt=own, **{env_vars.SECRETS_FOLDER: str(secret.parent)}
    )
    assert outcome is not None, log
    assert (code, outcome.result) == (0, "Reproduced")


def test_a_step_that_differs_is_named(stored: Path, data: Path, tmp_path: Path) -> None:
    rewrite(stored, 4, swapped_rows)
    code, outcome, log = verified(stored, data, tmp_path)
    assert outcome is not None, log
    assert (code, outcome.result) == (2, "Differs")
    assert "step 5: leaf 2 consumed other rows" in outcome.message


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"receipt_digest": "sha256:" + "0" * 64}, "the driver reported sha256:0000"),
        ({"expected_run_id": "sha256:" + "0" * 64}, "there is no receipt"),
    ],
    ids=["another receipt than the driver reported", "another run"],
)
def test_the_receipt_of_another_run_is_refused(
    stored: Path, data: Path, tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    code, outcome, log = verified(stored, data, tmp_path, **changes)
    assert outcome is not None, log
    assert (code, outcome.result) == (2, "Refused")
    assert problem in outcome.message
    assert "\n" not in outcome.message


def test_the_dataset_of_the_job_counts_and_not_the_one_that_the_receipt_names(
    stored: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_dataset(open_storage(str(other)), rows={"train": 42, "validation": 9, "test": 7})
    code, outcome, log = verified(stored, other, tmp_path)
    assert outcome is not None, log
    assert (code, outcome.result) == (2, "Refused")
    assert str(other) in outcome.message


def test_a_store_that_does_not_answer_leaves_no_message(stored: Path, data: Path, tmp_path: Path) -> None:
    manifest = a_manifest(data, tmp_path)
    manifest["spec"]["output"] = {"uri": "http://127.0.0.1:9/runs"}
    job = training_job(manifest)
    named = job.model_copy(
        update={"metadata": ObjectMeta.model_construct(name="small", namespace="team", uid="1")}
    )
    code, outcome, log = verified(stored, data, tmp_path, job=named)
    assert (code, outcome) == (75, None), log


def test_the_longest_message_fits_the_kubelets_bound() -> None:
    for text in ("x" * 1024, "ü" * 1024, '"\\\n' * 341):
        outcome = VerificationOutcome(result="Differs", message=text, receipt_digest="sha256:" + "0" * 64)
        content = outcome.encode()
        assert len(content) <= 4000
        parsed = parse_verification(content.decode())
        assert parsed is not None
        assert parsed.result == "Differs"
        assert json.loads(content)["schemaVersion"] == 1
