"""`seedbed top` of a store: what it says of runs and sweeps, and that a look costs by what is under way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from seedbed.cli.top_rows import Row
from seedbed.cli.top_snapshot import StoreSnapshot
from seedbed.cli.top_store import rows_of
from seedbed.runs.attempt_claims import AttemptClaim
from seedbed.runs.process_identity import this_process
from seedbed.runs.result_file import Result, save_result
from seedbed.runs.run_folder import RECIPE, RESULT, RunFolder, open_run
from seedbed.runs.run_lease import STALE_SECONDS
from seedbed.runs.sweep_record import add_started_run, sweep_record
from seedbed.runs.training_result import TrainingResult
from seedbed.search.objective_values import SCALE
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialRuns, TrialState
from seedbed.storage import Storage, open_storage
from support.storage.counting_storage import CountingStorage

NOON = 1893585600.0  # 2030-01-02 12:00 UTC
STEPS = (
    {"time": NOON, "kind": "Progress", "step": 20, "totalSteps": 100, "workers": 2},
    {"time": NOON + 10, "kind": "Progress", "step": 40, "totalSteps": 100, "workers": 2},
)
"""Two steps a second."""
SWEEP = "5e" * 32


@dataclass(kw_only=True)
class Store:
    """An output store, what it was asked, and a clock."""

    output: Storage
    now: float = 1000.0
    counted: CountingStorage = field(init=False)
    looker: StoreSnapshot = field(init=False)

    def __post_init__(self) -> None:
        self.counted = CountingStorage(inside=self.output)
        self.looker = StoreSnapshot(output=self.counted, poll_seconds=5.0, clock=lambda: self.now)

    def rows(self) -> dict[str, Row]:
        """Return what a look shows, by the first two digits."""
        return {row.name[:2]: row for row in rows_of(self.looker)}

    def asked(self) -> list[str]:
        """Return what a look asks the store."""
        self.counted.requests.clear()
        self.rows()
        return sorted(self.counted.requests)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(output=open_storage(str(tmp_path)))


def a_run(store: Store, digits: str, *, attempt: int = 1, state: str = "held", end: Any = None) -> RunFolder:
    """Let a process of another machine train a run; `end` is its last word."""
    folder = open_run(store.output, "sha256:" + digits * 32)
    folder.publish(RECIPE, b'{"model": {"name": "simple-cnn"}}')
    process = replace(this_process(), host="gpu-3", boot="another")
    claimed = AttemptClaim(number=attempt, process=process, workers=2, version="0", token="t")
    folder.objects.create(f"attempts/{attempt}.json", claimed.to_bytes())
    beat(folder, attempt, count=1, state=state)
    for number, event in enumerate([*STEPS, *([end] if end else [])]):
        line = json.dumps({"attempt": attempt, **event}).encode()
        folder.publish(f"events/{attempt}-{number:06d}.jsonl", line + b"\n")
    return folder


def ended(outcome: str) -> dict[str, Any]:
    return {"time": NOON + 60, "kind": "Ended", "outcome": outcome, "step": 40}


def beat(folder: RunFolder, attempt: int, *, count: int, state: str = "held") -> None:
    folder.leases.put(str(attempt), json.dumps({"token": "t", "beat": count, "state": state}).encode())


def complete(folder: RunFolder) -> None:
    outcome = TrainingResult(
        step=100,
        total_steps=100,
        selected_step=100,
        weights_digest="sha256:w",
        files={},
        ledger_chain="c",
        trajectory_id="t",
    )
    metrics = {"validation/accuracy": "0.9"}
    result = Result(
        run_id=folder.run_id,
        environment_class="sha256:e",
        dataset_digest="sha256:d",
        samples=10,
        outcome=outcome,
        receipt_digest="sha256:r",
        metrics=metrics,
    )
    save_result(folder, result, ())
    beat(folder, 1, count=2, state="released")


@pytest.mark.parametrize(
    ("state", "end", "expected"),
    [
        pytest.param(
            "held",
            None,
            Row(
                kind="run",
                name="ab" * 6,
                status="training",
                progress="40/100",
                rate="2 steps/s",
                left="0:30",
                workers="2",
                message="simple-cnn: attempt 1 on gpu-3",
            ),
            id="one that trains",
        ),
        pytest.param(
            "released",
            ended("Stopped"),
            Row(
                kind="run",
                name="ab" * 6,
                status="stopped",
                progress="40/100",
                message="simple-cnn: attempt 1 on gpu-3 was stopped at 2030-01-02 12:01 UTC; "
                "the same command continues",
            ),
            id="one that was stopped",
        ),
        pytest.param(
            "released",
            ended("Failed: NonFiniteLoss"),
            Row(
                kind="run",
                name="ab" * 6,
                status="failed",
                progress="40/100",
                message="simple-cnn: NonFiniteLoss, attempt 1 on gpu-3 at 2030-01-02 12:01 UTC",
                over=True,
            ),
            id="one that failed",
        ),
        pytest.param(
            "released",
            None,
            Row(
                kind="run",
                name="ab" * 6,
                status="stopped",
                progress="40/100",
                message="simple-cnn: attempt 1 on gpu-3 is gone, its last event was at 2030-01-02 12:00 UTC; "
                "the same command continues",
            ),
            id="one that ended without recording it",
        ),
    ],
)
def test_a_run_says_why_it_does_not_train(store: Store, state: str, end: Any, expected: Row) -> None:
    a_run(store, "ab", state=state, end=end)
    assert store.rows() == {"ab": expected}


def test_a_heartbeat_that_stands_still_while_we_look_is_told_until_it_beats_again(store: Store) -> None:
    folder = a_run(store, "ab")
    for _ in range(round(STALE_SECONDS / 5)):
        assert store.rows()["ab"].status == "training"
        store.now += 5.0
    stale = store.rows()["ab"]
    assert (stale.status, stale.rate, stale.left) == ("stale", "", "")
    assert stale.message.startswith("simple-cnn: no heartbeat from attempt 1 on gpu-3 for 0:30;")
    beat(folder, 1, count=2)
    assert store.rows()["ab"].status == "training"


def test_a_look_asks_for_nothing_of_what_is_complete_and_little_of_what_trains(store: Store) -> None:
    for number in range(20):
        complete(a_run(store, f"{number:02}"))
    complete(a_run(store, "5a"))
    assert set(store.rows()) == {*(f"{number:02}" for number in range(20)), "5a"}
    assert store.asked() == ["list leases", "list sweeps"]
    trained = a_run(store, "ab", end=STEPS[1])
    store.rows()
    asked = store.asked()
    assert len(asked) <= 10
    assert {request for request in asked if "ab" * 32 not in request} == {"list leases", "list sweeps"}
    for number in range(3, 20):
        trained.publish(f"events/1-{number:06d}.jsonl", json.dumps({"attempt": 1, **STEPS[1]}).encode())
    assert len(store.asked()) == len(asked), "nor does it cost more the more the run has told"


EVENTS: dict[str, tuple[Callable[[Store], Any], str]] = {
    "its result comes": (lambda store: complete(open_run(store.output, "sha256:" + "ab" * 32)), "complete"),
    "it is stopped": (lambda store: a_run(store, "ab", state="released", end=ended("Stopped")), "stopped"),
    "another claims it": (lambda store: a_run(store, "ab", attempt=2), "training"),
}


@pytest.mark.parametrize(("event", "status"), EVENTS.values(), ids=EVENTS)
def test_what_becomes_of_a_run_under_way_is_seen_at_the_next_look(
    store: Store, event: Callable[[Store], Any], status: str
) -> None:
    a_run(store, "ab")
    store.rows()
    event(store)
    assert store.rows()["ab"].status == status


def test_a_result_that_comes_while_a_look_reads_the_run_is_not_missed(store: Store) -> None:
    folder = a_run(store, "ab")
    lease = f"read leases/{folder.name}/1"
    store.counted.before = lambda request: complete(folder) if request == lease else None
    assert store.rows()["ab"].status == "complete"


def test_a_run_at_rest_that_is_claimed_again_or_removed_is_seen(store: Store) -> None:
    folder = a_run(store, "ab", state="released")
    assert store.rows()["ab"].status == "stopped"
    a_run(store, "ab", attempt=2)
    assert store.rows()["ab"].status == "training"
    for path in folder.objects.list():
        if not path.startswith("attempts/"):
            folder.objects.delete(path)
    beat(folder, 2, count=2, state="released")
    assert store.rows() == {}


def test_runs_without_leases_are_there_as_in_a_copy_of_a_store(store: Store) -> None:
    folder = a_run(store, "ab", state="released")
    complete(folder)
    folder.leases.delete("1")
    assert store.rows()["ab"].status == "complete"


def test_what_is_damaged_is_told_of_and_hides_nothing_else(store: Store) -> None:
    folder = a_run(store, "ab", state="released")
    folder.objects.put(RESULT, b"{}")
    a_run(store, "cd")
    store.output.put(f"sweeps/{SWEEP}/ledger.json", b"{}")
    rows = store.rows()
    assert {name: row.status for name, row in rows.items()} == {
        "ab": "damaged",
        "cd": "training",
        "5e": "damaged",
    }
    assert RESULT in rows["ab"].message
    assert "ledger.json" in rows["5e"].message


def begun_by_the_sweep(store: Store, *folders: RunFolder) -> None:
    for folder in folders:
        add_started_run(store.output.child(f"sweeps/{SWEEP}"), folder.run_id)


def test_a_sweep_trains_where_one_of_its_runs_does(store: Store) -> None:
    done, trains = a_run(store, "ab"), a_run(store, "cd")
    complete(done)
    begun_by_the_sweep(store, done, trains)
    rows = store.rows()
    expected = Row(kind="sweep", name=SWEEP[:12], status="training", progress="2 runs")
    assert rows["5e"] == replace(expected, message="1 complete, 1 training")
    assert rows["ab"].message == f"sweep {SWEEP[:12]}"
    beat(trains, 1, count=2, state="released")
    message = "1 complete, 1 stopped; none of its runs is being trained; the same command continues"
    assert store.rows()["5e"] == replace(expected, status="idle", message=message)


def test_a_sweep_that_has_ended_tells_its_best_and_its_ledger_is_read_once(store: Store) -> None:
    trials = [
        DecidedTrial(index=index, assignments=(), state=TrialState.SUCCEEDED, folds=(best,), objective=best)
        for index, best in enumerate((SCALE // 2, SCALE // 4))
    ]
    record = sweep_record(
        trials,
        sweep={"objective": {"direction": "Minimize"}, "maxTrialCount": 9},
        ended=SweepEnd(reason=EndReason.TARGET_REACHED, index=1),
        trial_runs={0: TrialRuns(), 1: TrialRuns()},
    )
    store.output.put(f"sweeps/{SWEEP}/ledger.json", record.to_bytes())
    assert store.rows()["5e"] == Row(
        kind="sweep",
        name=SWEEP[:12],
        status="complete",
        progress="2/9 trials",
        result="0.25",
        message="TargetReached",
        over=True,
    )
    assert "ledger.json" not in " ".join(store.asked())


def test_an_empty_store_has_no_rows(store: Store) -> None:
    assert store.rows() == {}
