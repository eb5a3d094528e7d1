"""However a run was cut into calls and checkpoints, its curves are the same; TensorBoard reads the same figures."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import pytest

from seedbed.arithmetic.learning_rate import learning_rate
from seedbed.driver import curve_store
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from unit.driver.curves import SCHEDULE, STEPS, Json, a_call, evaluate, metrics, train


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return open_run(open_storage(str(tmp_path)), "sha256:" + "ab" * 32)


def scalars(folder: RunFolder) -> list[tuple[int, str, float]]:
    """Read the event files as TensorBoard does: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in folder.objects.list("tensorboard"):
        data = folder.objects.read(path)
        while data:
            (length,) = struct.unpack_from("<Q", data)
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            data = data[16 + length :]
    return found


def whole(folder: RunFolder) -> list[Json]:
    """One call that trains from the first step to the last."""
    train(folder, 0, STEPS)
    evaluate(folder, "test", STEPS)
    a_call(folder).join(STEPS, over=True)
    return metrics(folder)


def test_every_step_and_every_evaluation_is_there_once(folder: RunFolder) -> None:
    lines = whole(folder)
    trained = [line for line in lines if "training/loss" in line]
    assert [line["step"] for line in trained] == list(range(1, STEPS + 1))
    assert [line["training/loss"] for line in trained] == [1.0 / (step + 3) for step in range(STEPS)]
    rates = [learning_rate(SCHEDULE, step, STEPS) for step in range(STEPS)]
    assert [line["training/learning-rate"] for line in trained] == rates
    evaluated = [line for line in lines if "training/loss" not in line]
    assert evaluated == [
        {"step": 5, "validation/loss": 5 / 8, "validation/accuracy": 0.75},
        {"step": 10, "test/loss": 10 / 8, "test/accuracy": 0.75},
        {"step": 10, "validation/loss": 10 / 8, "validation/accuracy": 0.75},
    ]


@pytest.mark.parametrize("cuts", [(5,), (3, 5, 7), (1, 2, 9), (10,), (4, 10)])
@pytest.mark.parametrize("live", [False, True], ids=["a call for each part", "one call that follows"])
def test_the_curves_do_not_show_how_the_run_was_cut(
    folder: RunFolder, tmp_path: Path, cuts: tuple[int, ...], live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_store, "LIVE_SECONDS", 0.0)
    call, done = a_call(folder), 0
    for cut in cuts:
        train(folder, done, cut)
        done = cut
        if live:
            call.follow(cut)
        else:
            a_call(folder).join(cut, over=False)
    if done < STEPS:
        train(folder, done, STEPS)
    evaluate(folder, "test", STEPS)
    call.join(STEPS, over=True)
    other = open_run(open_storage(str(tmp_path / "other")), folder.run_id)
    assert sorted(map(str, metrics(folder))) == sorted(map(str, whole(other)))
    assert sorted(scalars(folder)) == sorted(scalars(other))


def test_tensorboard_shows_the_figures_of_the_file(folder: RunFolder) -> None:
    lines = whole(folder)
    expected = sorted(
        (int(line["step"]), name, float(np.float32(value)))
        for line in lines
        for name, value in line.items()
        if name != "step"
    )
    assert sorted(scalars(folder)) == expected


def test_joining_again_changes_nothing(folder: RunFolder) -> None:
    whole(folder)
    before = {path: folder.objects.read(path) for path in folder.objects.list()}
    a_call(folder).join(STEPS, over=True)
    assert {path: folder.objects.read(path) for path in folder.objects.list()} == before


def test_a_damaged_ledger_is_told_once_and_raises_nothing(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    train(folder, 0, STEPS)
    (path,) = folder.objects.list("ledger")
    folder.objects.put(path, b"damaged")
    call = a_call(folder)
    with caplog.at_level(logging.WARNING):
        call.join(STEPS, over=False)
        call.join(STEPS, over=True)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the metric curves of this run cannot be stored at present"
    ]
    assert metrics(folder) == []
