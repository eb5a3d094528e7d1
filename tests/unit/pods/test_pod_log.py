"""Logs of pods: pieces in the output store, lines of Ray's workers, kills for memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seedbed.logs.json_log import LONGEST_LINE, JsonLineEncoder
from seedbed.logs.log_upload import PIECE_BYTES, spool_reader, stored_bytes, upload_new_pieces
from seedbed.logs.ray_worker_output import WorkerOutputFollower
from seedbed.pods.termination_message import oom_kills
from seedbed.storage import LocalStorage
from seedbed_api.json_log_lines import format_log_line
from seedbed_api.pod_contract.paths import log_piece_name


def log_in(folder: LocalStorage) -> bytes:
    return b"".join(folder.read(path) for path in folder.list())


@pytest.mark.parametrize(
    "growth",
    [
        pytest.param([0, 100], id="nothing, then a little"),
        pytest.param([100, 200, PIECE_BYTES], id="a piece that grows and is full"),
        pytest.param([PIECE_BYTES, PIECE_BYTES + 1], id="the first byte of a second piece"),
        pytest.param([3 * PIECE_BYTES + 7], id="several pieces at once"),
    ],
)
def test_pieces_in_order_are_the_log_as_far_as_it_has_come(tmp_path: Path, growth: list[int]) -> None:
    spool, folder, shipped = tmp_path / "spool", LocalStorage(root=tmp_path / "store"), 0
    content = bytes(position % 251 for position in range(growth[-1]))
    for size in growth:
        spool.write_bytes(content[:size])
        shipped = upload_new_pieces(spool_reader(spool), folder, uploaded=shipped)
        assert shipped == size
        assert log_in(folder) == content[:size]
    assert all(folder.size(path) == PIECE_BYTES for path in folder.list()[:-1])


def test_a_piece_that_is_stored_is_not_written_again(tmp_path: Path) -> None:
    spool, folder = tmp_path / "spool", LocalStorage(root=tmp_path / "store")
    spool.write_bytes(bytes(PIECE_BYTES))
    shipped = upload_new_pieces(spool_reader(spool), folder)
    folder.put("000000.log", b"seen")
    spool.write_bytes(bytes(PIECE_BYTES + 1))
    upload_new_pieces(spool_reader(spool), folder, uploaded=shipped)
    assert folder.read("000000.log") == b"seen"
    assert folder.read("000001.log") == b"\0"


@pytest.mark.parametrize(
    ("pieces", "known"),
    [
        pytest.param([], 0, id="nothing is there"),
        pytest.param([0], 0, id="the only one may have grown"),
        pytest.param([0, 1, 2], 2 * PIECE_BYTES, id="all but the last are full"),
        pytest.param([0, 1, 3], PIECE_BYTES, id="one was never stored"),
    ],
)
def test_what_is_surely_stored_is_not_stored_again(tmp_path: Path, pieces: list[int], known: int) -> None:
    folder = LocalStorage(root=tmp_path)
    for piece in pieces:
        folder.put(log_piece_name(piece), bytes(PIECE_BYTES))
    assert stored_bytes(folder) == known


def test_workers_are_quoted_line_by_line_with_who_said_it_and_how_grave_it_is(tmp_path: Path) -> None:
    said: list[Mapping[str, Any]] = []
    mirror, out = WorkerOutputFollower(tmp_path, said.append), tmp_path / "worker-ab-01-77.out"
    out.write_bytes(b":job_id:01\n:actor_name:RayTrainWorker\nhello\nhalf a ")
    (tmp_path / "raylet.out").write_bytes(b"noise\n")
    mirror.read_new_lines()
    assert said == [{"pid": 77, "level": "info", "message": "hello"}]
    said.clear()
    with out.open("ab") as file:
        file.write(b'line\n{"level": "warning", "message": "slow", "step": 7}\n')
    error = b"Traceback (most recent call last):\n  File\nseedbed_api.errors.UserError: odd\n\xff\n"
    (tmp_path / "worker-ab-01-78.err").write_bytes(error)
    mirror.read_new_lines()
    assert said == [
        {"pid": 77, "level": "info", "message": "half a line"},
        {"pid": 77, "level": "warning", "message": "slow", "step": 7},
        {"pid": 78, "level": "error", "message": "Traceback (most recent call last):"},
        {"pid": 78, "level": "info", "message": "  File"},
        {"pid": 78, "level": "error", "message": "seedbed_api.errors.UserError: odd"},
        {"pid": 78, "level": "info", "message": "\N{REPLACEMENT CHARACTER}"},
    ]


def test_what_a_pod_quotes_becomes_a_record_of_its_log_with_level_and_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worker-ab-01-78.err").write_bytes(b"RuntimeError: odd\n")
    WorkerOutputFollower(tmp_path).read_new_lines()
    recorder = JsonLineEncoder(context={"job": "digits"}, clock=lambda: "2030-01-02T12:00:00.000+00:00")
    record = recorder.take(capsys.readouterr().out.encode()).decode().strip()
    assert json.loads(record) == {
        "time": "2030-01-02T12:00:00.000+00:00",
        "job": "digits",
        "pid": 78,
        "level": "error",
        "message": "RuntimeError: odd",
    }
    assert format_log_line(record) == "12:00:00 ERROR (pid=78) RuntimeError: odd"


def test_a_line_without_end_is_quoted_in_parts_whose_records_are_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worker-a-1-5.err").write_bytes(b"\xff" * (1 << 16) + b"y\n")
    mirror = WorkerOutputFollower(tmp_path)
    mirror.read_new_lines()
    mirror.read_new_lines()
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) < LONGEST_LINE
    assert (
        "".join(json.loads(line)["message"] for line in printed)
        == "\N{REPLACEMENT CHARACTER}" * (1 << 16) + "y"
    )


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        pytest.param({}, 0, id="nobody counts"),
        pytest.param({"memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2, id="cgroups v2"),
        pytest.param(
            {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"}, 1, id="v1"
        ),
    ],
)
def test_kills_for_memory_are_counted_by_the_kernel(
    tmp_path: Path, files: dict[str, str], kills: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path) == kills
