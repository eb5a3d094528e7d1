"""The table of a sweep: values in, characters out; plain lines where there is no terminal."""

from __future__ import annotations

import io

import pytest

from seedbed.search.objective_values import SCALE
from seedbed.search.trial_decisions import DecidedTrial, TrialState
from seedbed.search.trial_segment import TrialSegment
from seedbed.sweeps.sweep_display import SweepDisplay, SweepTable, trial_line
from seedbed.training.run_progress import RunProgress


def succeeded(index: int = 3, objective: str = "0.875", deviation: int | None = None) -> DecidedTrial:
    value = round(float(objective) * SCALE)
    point = (("lr", "0.1"), ("net", "simple-cnn"))
    return DecidedTrial(
        index=index, assignments=point, state=TrialState.SUCCEEDED, objective=value, deviation=deviation
    )


PRUNED = DecidedTrial(
    index=4,
    assignments=(("lr", "9"),),
    state=TrialState.PRUNED,
    objective=SCALE // 2,
    rungs=((1, 0), (3, SCALE // 2)),
)
FAILED = DecidedTrial(index=5, assignments=(), state=TrialState.FAILED, reason="NonFiniteLoss")
UNDER_WAY = TrialSegment(trial=6, run_index=1, fold=1, values={"lr": "0.2"}, until_epoch=3)
PROGRESS = RunProgress(step=10, total_steps=40, epoch=1, phase="Training", accuracy=0.5)


@pytest.mark.parametrize(
    ("trial", "shown"),
    [
        pytest.param(succeeded(), "trial 3  succeeded  0.875  lr=0.1  net=simple-cnn", id="at its end"),
        pytest.param(
            succeeded(deviation=SCALE // 100),
            "trial 3  succeeded  0.875 ± 0.01  lr=0.1  net=simple-cnn",
            id="with folds",
        ),
        pytest.param(PRUNED, "trial 4  pruned  0.5 after epoch 3  lr=9", id="ended early"),
        pytest.param(FAILED, "trial 5  failed  NonFiniteLoss", id="failed, without parameters"),
    ],
)
def test_a_decided_trial_in_one_line(trial: DecidedTrial, shown: str) -> None:
    assert trial_line(trial) == shown


def test_the_table_shows_the_best_and_what_is_under_way() -> None:
    view = SweepTable(title="digits", total=20, trials=[succeeded(), PRUNED, FAILED], best=[succeeded()])
    view.running = {
        (7, 0): (TrialSegment(trial=7, run_index=0, fold=None, values={}, until_epoch=None), None)
    }
    view.running[6, 1] = (UNDER_WAY, PROGRESS)
    assert list(view.rows()) == [
        ("3", "succeeded", "0.875", "lr=0.1  net=simple-cnn"),
        ("6 fold 1", "training 10/40", "accuracy 0.5000", "lr=0.2"),
        ("7", "starting", "", ""),
    ]
    assert view.summary() == "3/20 trials decided  1 succeeded  1 pruned  1 failed"


def test_a_terminal_gets_a_table_and_is_given_back() -> None:
    stream = io.StringIO()
    with SweepDisplay("digits", stream=stream, interactive=True) as display:
        display.begin(UNDER_WAY)
        display.update(UNDER_WAY, PROGRESS)
        display.notice("trial 6: WorkersLost: its process was lost")
        display.print_ranking([succeeded()])
    shown = stream.getvalue()
    assert "6 fold 1" in shown
    assert "training 10/40" in shown
    assert "• trial 6: WorkersLost: its process was lost" in shown
    assert shown.endswith("  1  trial 3  succeeded  0.875  lr=0.1  net=simple-cnn\n")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1, "the cursor is hidden and shown again"


def test_elsewhere_lines_are_plain_and_a_run_under_way_is_no_news() -> None:
    stream = io.StringIO()
    with SweepDisplay("digits", stream=stream) as display:
        display.begin(UNDER_WAY)
        display.update(UNDER_WAY, PROGRESS)
        display.end(UNDER_WAY)
        display.notice("goes on")
        display.finish({"best trial": "3", "run": "sha256:…"})
    assert stream.getvalue() == "digits  goes on\nbest trial  3\nrun         sha256:…\n"
