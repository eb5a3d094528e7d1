"""kill -9 in the middle of checkpoints: what is left is a readable run, whatever the moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seedbed.runs import (
    CHAIN_START,
    LedgerReader,
    checkpoint_record,
    checkpoint_steps,
    latest_checkpoint,
    open_run,
)
from seedbed.runs.sealed_json import is_sealed
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError

RUN = "sha256:" + "12" * 32

TRAINER = """
import sys
import numpy as np
from seedbed.runs import *
from seedbed.storage import open_storage
folder = open_run(open_storage(sys.argv[1]), sys.argv[2])
found = latest_checkpoint(folder)
step, chain = (0, CHAIN_START) if found is None else (found[0].step, bytes.fromhex(found[0].ledger_chain))
print(step, flush=True)
while True:
    buffer = LedgerBuffer()
    for leaf in range(2):
        buffer.add_leaf(step, leaf, rows_m=[step, leaf], digest=bytes([step % 256, leaf] * 16))
    buffer.add_step(step, loss=0.5, witness=[step])
    segment = join_ledger_parts([buffer.drain()], first=step, leaves=2, chain_before=chain)
    save_segment(folder, segment)
    step, chain = step + 1, segment.chain
    evaluation = save_evaluation(folder, split="validation", step=step, document={"loss": step})
    evaluations = read_evaluations(folder, up_to=step)
    state = {"model.w": np.full((300, 100), step, dtype=np.float32), "optimizer.m": np.full((300,), -step, dtype=np.float32)}
    record = checkpoint_record(state, run_id=sys.argv[2], trajectory_id="t", step=step, ledger_chain=chain, evaluations=evaluations)
    save_checkpoint(folder, record, state)
    prune_checkpoints(folder, keep=2)
    print(step, flush=True)
"""


@pytest.mark.slow
def test_chain_of_kills_never_loses_a_checkpoint_and_never_shows_a_torn_one(tmp_path: Path) -> None:
    folder = open_run(open_storage(str(tmp_path)), RUN)
    reached = 0
    for checkpoints, after in ((2, 0.002), (1, 0.013), (0, 0.007), (3, 0.0), (1, 0.021)):
        command = [sys.executable, "-c", TRAINER, str(tmp_path), RUN]
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            resumed = int(child.stdout.readline())
            lived = [int(child.stdout.readline()) for _ in range(checkpoints)]
            time.sleep(after)
            assert child.poll() is None, "the victim lived"
            child.send_signal(signal.SIGKILL)
        assert resumed == reached, "it resumed from the last checkpoint that was whole"
        found = latest_checkpoint(folder)
        assert found is not None
        record, tensors = found
        assert record.step >= max([reached, *lived]), "what was stored stays stored"
        assert record.step == checkpoint_steps(folder)[-1], "no torn record"
        assert np.all(tensors["model.w"] == record.step)
        assert LedgerReader(folder=folder).chain(stop=record.step).hex() == record.ledger_chain
        assert all(is_sealed(folder.objects.read(path)) for path in folder.objects.list("evaluations"))
        reached = record.step
    assert reached >= 7


@pytest.mark.parametrize("stored", range(4))
def test_each_moment_inside_one_checkpoint_can_be_resumed(tmp_path: Path, stored: int) -> None:
    """Cut the store off after so many writes: blob, blob, record; the next attempt writes the rest."""
    from dataclasses import replace

    from seedbed.runs import save_checkpoint

    store = open_storage(str(tmp_path))
    folder = open_run(store, RUN)
    state = {"model.w": np.ones(3, dtype=np.float32), "optimizer.m": np.zeros(3, dtype=np.float32)}
    record = checkpoint_record(
        state, run_id=RUN, trajectory_id="t", step=5, ledger_chain=CHAIN_START, evaluations=()
    )
    writes = 0
    publish = type(folder).publish

    def counted(self, path, data, **options):  # type: ignore[no-untyped-def]
        nonlocal writes
        if writes == stored:
            raise InfrastructureError("StorageUnavailable", "cut off")
        writes += 1
        publish(self, path, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(folder), "publish", counted)
        if stored < 3:
            with pytest.raises(InfrastructureError):
                save_checkpoint(folder, record, state)
        else:
            save_checkpoint(folder, record, state)
    assert (latest_checkpoint(folder) is not None) == (stored == 3)
    save_checkpoint(replace(folder), record, state)
    assert latest_checkpoint(folder)[0] == record  # type: ignore[index]
