"""A run folder on a real S3 server: claims race, checkpoints survive faults on the way, damage is found."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from seedbed.runs import (
    CHAIN_START,
    AttemptEventLog,
    LedgerBuffer,
    LedgerReader,
    RunFolder,
    acquire_lease,
    checkpoint_record,
    checkpoint_steps,
    join_ledger_parts,
    latest_checkpoint,
    open_run,
    prune_checkpoints,
    read_events,
    save_checkpoint,
    save_segment,
)
from seedbed.runs.attempt_claims import claim_attempt, highest_attempt, require_newest_attempt
from seedbed.storage import open_storage
from testbed.faults import Fault, FaultProxy
from testbed.gateway import Gateway

pytestmark = pytest.mark.s3

RUN = "sha256:" + "34" * 32


@pytest.fixture
def bucket(s3: Gateway) -> str:
    return s3.bucket()


@pytest.fixture
def folder(s3: Gateway, bucket: str, tmp_path: Path) -> RunFolder:
    return open_run(open_storage(bucket, secret=s3.secret(tmp_path / "secret")), RUN)


@pytest.fixture
def faulty(s3: Gateway, s3_faults: FaultProxy, bucket: str, tmp_path: Path) -> RunFolder:
    secret = s3.secret(tmp_path / "faulty", AWS_ENDPOINT_URL=s3_faults.endpoint)
    return open_run(open_storage(bucket, secret=secret), RUN)


def checkpoint(folder: RunFolder, step: int) -> None:
    state = {
        "model.w": np.full((100, 10), step, dtype=np.float32),
        "optimizer.m": np.full(100, -step, dtype=np.float32),
    }
    record = checkpoint_record(
        state, run_id=RUN, trajectory_id="t", step=step, ledger_chain=CHAIN_START, evaluations=()
    )
    save_checkpoint(folder, record, state)


def test_of_many_claims_one_wins(folder: RunFolder) -> None:
    start, won = threading.Barrier(6), []

    def race() -> None:
        start.wait()
        attempt = claim_attempt(folder, 1, workers=1, version="0")
        if attempt is not None:
            won.append(attempt.token)

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert highest_attempt(folder) == 1


def test_claim_whose_answer_was_lost_is_ours(faulty: RunFolder, s3_faults: FaultProxy) -> None:
    s3_faults.script(Fault(kind="lost-answer"), match="PUT")
    assert claim_attempt(faulty, 1, workers=1, version="0") is not None
    assert claim_attempt(faulty, 1, workers=1, version="0") is None


@pytest.mark.parametrize("kind", ["lost-answer", "reset", "status", "cut-answer"])
def test_checkpoints_survive_a_fault_at_every_request(folder: RunFolder, faulty: RunFolder, s3_faults: FaultProxy, kind: str) -> None:  # fmt: skip
    times = {"count": 0}

    def every_second(_line: str) -> Fault | None:
        times["count"] += 1
        return Fault(kind=kind, value=503 if kind == "status" else 20) if times["count"] % 2 else None  # type: ignore[arg-type]

    s3_faults.decide = every_second
    checkpoint(faulty, 3)
    checkpoint(faulty, 5)
    prune_checkpoints(faulty, keep=1)
    s3_faults.decide = lambda _line: None
    assert times["count"] > 10
    assert checkpoint_steps(folder) == [5]
    record, tensors = latest_checkpoint(folder)  # type: ignore[misc]
    assert record.step == 5
    assert np.all(tensors["model.w"] == 5)


def test_object_damaged_in_the_store_is_passed_over(s3: Gateway, bucket: str, folder: RunFolder) -> None:
    checkpoint(folder, 3)
    checkpoint(folder, 5)
    record, _ = latest_checkpoint(folder)  # type: ignore[misc]
    file = s3.root / bucket.removeprefix("s3://") / "runs" / folder.name / "blobs" / record.blobs["model"]
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert latest_checkpoint(folder)[0].step == 3  # type: ignore[index]
    checkpoint(folder, 5)
    assert latest_checkpoint(folder)[0].step == 5  # type: ignore[index]


def test_lease_ledger_and_events_work_as_on_a_disk(folder: RunFolder) -> None:
    with acquire_lease(folder, workers=2, version="0", poll=0.05, beat_every=0.05) as lease:  # type: ignore[union-attr]
        require_newest_attempt(lease.folder, lease.attempt.number)
        events = AttemptEventLog(folder=folder, attempt=lease.attempt.number)
        for step in range(2):
            events.add("step", step=step)
            events.flush()
        buffer = LedgerBuffer()
        buffer.add_leaf(0, 0, rows_m=[1, 2], digest=bytes(32))
        buffer.add_step(0, loss=1.0, witness=[7])
        segment = join_ledger_parts([buffer.drain()], first=0, leaves=1, chain_before=CHAIN_START)
        save_segment(folder, segment)
    assert LedgerReader(folder=folder).chain(stop=1) == segment.chain
    assert [event["step"] for event in read_events(folder)] == [0, 1]
    second = acquire_lease(folder, workers=1, version="0", poll=0.05)
    assert second is not None
    assert second.attempt.number == 2
    second.release()
