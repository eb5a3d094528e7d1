"""The run folder's own rule, and the small objects in it: evaluations, events, model files, heartbeats."""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seedbed.runs import (
    AttemptEventLog,
    DamagedCheckpoint,
    RunFolder,
    acquire_lease,
    evaluations_digest,
    load_checkpoint,
    model_config,
    open_run,
    read_evaluations,
    read_events,
    save_evaluation,
    save_model,
    weights_digest,
)
from seedbed.runs.attempt_claims import require_newest_attempt
from seedbed.storage import LocalStorage, open_storage
from seedbed_api.errors import InfrastructureError

RUN = "sha256:" + "56" * 32


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return open_run(open_storage(str(tmp_path)), RUN)


def test_objects_lie_where_the_architecture_says(folder: RunFolder, tmp_path: Path) -> None:
    folder.publish("recipe.json", b"{}")
    folder.leases.put("1", b"{}")
    assert (tmp_path / "runs" / ("56" * 32) / "recipe.json").is_file()
    assert (tmp_path / "leases" / ("56" * 32) / "1").is_file()
    assert not folder.finished()
    folder.publish("result.json", b"{}")
    assert folder.finished()


@pytest.mark.parametrize(
    ("ours", "valid", "agrees", "left"),
    [
        pytest.param(b"same", None, None, b"same", id="equal bytes are fine"),
        pytest.param(b"other", None, None, None, id="other bytes are a conflict"),
        pytest.param(b"other", True, None, None, id="a valid object is never replaced"),
        pytest.param(b"other", False, None, b"other", id="a damaged object is restored"),
        pytest.param(b"other", None, True, b"same", id="what agrees stays as it is"),
        pytest.param(b"other", False, True, b"same", id="agreement goes before validity"),
        pytest.param(b"other", None, False, None, id="what does not agree is a conflict"),
    ],
)
def test_publishing_what_is_there(
    folder: RunFolder, ours: bytes, valid: bool | None, agrees: bool | None, left: bytes | None
) -> None:
    folder.publish("x", b"same")
    options: dict[str, Callable[..., bool]] = {}
    if valid is not None:
        options["valid"] = lambda _theirs: valid
    if agrees is not None:
        options["agrees"] = lambda _theirs, _ours: agrees
    if left is None:
        with pytest.raises(InfrastructureError) as caught:
            folder.publish("x", ours, **options)  # type: ignore[arg-type]
        assert caught.value.reason == "RunFolderConflict"
        assert "/x: exists with other bytes, they differ from byte 0" in caught.value.message
    else:
        folder.publish("x", ours, **options)  # type: ignore[arg-type]
    assert folder.objects.read("x") == (left or b"same")


def test_evaluations_come_back_by_step_and_split(folder: RunFolder) -> None:
    for split, step in (("validation", 10), ("test", 10), ("validation", 9), ("validation", 100)):
        save_evaluation(folder, split=split, step=step, document={"correct": step})
    found = read_evaluations(folder)
    assert [(e.step, e.split) for e in found] == [(9, "validation"), (10, "test"), (10, "validation"), (100, "validation")]  # fmt: skip
    assert found == [*read_evaluations(folder, up_to=10), *read_evaluations(folder, up_to=100)[3:]]
    assert [e.step for e in read_evaluations(folder, split="validation", up_to=99)] == [9, 10]
    assert evaluations_digest(found, up_to=10) == evaluations_digest(reversed(found[:3]), up_to=10)
    assert evaluations_digest(found, up_to=10) != evaluations_digest(found, up_to=9)
    assert evaluations_digest(found, up_to=10) == evaluations_digest([found[0], found[2]], up_to=10), (
        "no test split"
    )


def test_other_counts_for_the_same_evaluation_are_nondeterminism(folder: RunFolder) -> None:
    save_evaluation(folder, split="validation", step=1, document={"correct": 5})
    save_evaluation(folder, split="validation", step=1, document={"correct": 5})
    with pytest.raises(InfrastructureError, match=r"evaluations/validation-1\.json"):
        save_evaluation(folder, split="validation", step=1, document={"correct": 6})


def test_evaluation_put_under_another_name_is_found(folder: RunFolder) -> None:
    save_evaluation(folder, split="validation", step=1, document={"correct": 5})
    data = folder.objects.read("evaluations/validation-1.json")
    folder.objects.put("evaluations/validation-2.json", data)
    with pytest.raises(InfrastructureError, match="another split or step"):
        read_evaluations(folder)


def test_events_of_all_attempts_come_back_in_order(folder: RunFolder) -> None:
    for attempt in (2, 10, 1):
        log = AttemptEventLog(folder=folder, attempt=attempt)
        for step in range(12):
            log.add("step", step=step)
            log.flush()
        log.flush()
    found = [(event["attempt"], event["step"]) for event in read_events(folder)]
    assert found == [(attempt, step) for attempt in (1, 2, 10) for step in range(12)]


def test_model_loads_with_plain_torch_and_safetensors(folder: RunFolder, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    config = model_config(
        name="simple-cnn",
        entrypoint=None,
        arguments={"width": "4"},
        classes=["a", "b"],
        image_size=8,
        mean=["0.5"] * 3,
        std=["0.25"] * 3,
    )
    files = save_model(folder, model.state_dict(), config)
    assert files.weights_digest == weights_digest(model.state_dict())
    place = tmp_path / "runs" / folder.name / "model"

    from safetensors.torch import load_file

    other = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    other.load_state_dict(load_file(place / "model.safetensors"))
    assert weights_digest(other.state_dict()) == files.weights_digest
    assert json.loads((place / "config.json").read_text())["classes"] == ["a", "b"]
    with pytest.raises(InfrastructureError, match=r"model\.safetensors"):
        save_model(folder, {**model.state_dict(), "0.bias": np.zeros(4, dtype=np.float32)}, config)


def test_damage_is_an_infrastructure_error_that_travels(folder: RunFolder) -> None:
    with pytest.raises(InfrastructureError) as caught:
        load_checkpoint(folder, 3)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(copy, DamagedCheckpoint)
    assert (copy.reason, copy.message) == ("RunFolderDamaged", caught.value.message)


def test_heartbeat_outlives_a_store_that_is_away_for_a_while(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put = LocalStorage.put
    away = {"now": False}

    def sometimes(self: LocalStorage, path: str, data: bytes) -> None:
        if away["now"]:
            raise InfrastructureError("StorageUnavailable", "away")
        put(self, path, data)

    monkeypatch.setattr(LocalStorage, "put", sometimes)
    with (
        caplog.at_level(logging.WARNING),
        acquire_lease(folder, workers=1, version="0", beat_every=0.02) as lease,
    ):  # type: ignore[union-attr]
        away["now"] = True
        deadline = time.monotonic() + 120
        while "not renewed: away" not in caplog.text:
            assert time.monotonic() < deadline, "no heartbeat was tried"
            time.sleep(0.01)
        before = folder.leases.read("1")
        away["now"] = False
        while folder.leases.read("1") == before:
            time.sleep(0.01)
        require_newest_attempt(lease.folder, lease.attempt.number)
