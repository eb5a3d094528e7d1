"""The display: values in, characters out; stderr only; plain lines where there is no terminal."""

import io
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.driver.progress_display import PLAIN_INTERVAL_SECONDS, ProgressDisplay
from seedbed.training.run_progress import RunProgress

TRAINING = RunProgress(
    step=10,
    total_steps=100,
    epoch=1,
    epochs=5,
    loss=0.5,
    accuracy=0.9,
    images_per_second=1234.5,
    workers=2,
    phase="Training",
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(*updates: RunProgress, seconds_between: float = 0.0, interactive: bool = False) -> str:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay("seedlings", stream=stream, interactive=interactive, clock=clock) as display:
        for update in updates:
            display.update(update)
            clock.now += seconds_between
    return stream.getvalue()


def test_a_plain_line_says_all_a_person_asks():
    assert shown(TRAINING) == (
        "seedlings  training  step 10/100 (10 %)  epoch 1/5  loss 0.5000  accuracy 0.9000  1,234 images/s  2 workers\n"
    )


@pytest.mark.parametrize(
    ("second", "seconds", "lines"),
    [
        pytest.param(replace(TRAINING, step=11), 0.1, 1, id="a step alone is no news"),
        pytest.param(replace(TRAINING, step=11), PLAIN_INTERVAL_SECONDS, 2, id="ten seconds are"),
        pytest.param(replace(TRAINING, epoch=2), 0.1, 2, id="so is an epoch"),
        pytest.param(replace(TRAINING, phase="Evaluating"), 0.1, 1, id="a phase passes by without one"),
        pytest.param(replace(TRAINING, attempt=2), 0.1, 2, id="so is an attempt"),
        pytest.param(replace(TRAINING, step=100), 0.1, 2, id="so is the end"),
    ],
)
def test_when_a_plain_line_is_written(second, seconds, lines):
    assert shown(TRAINING, second, seconds_between=seconds).count("\n") == lines


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "2 workers"), (65.0, "1:05 left"), (3665.4, "1:01:05 left")]
)
def test_the_time_left_is_what_the_run_itself_tells(seconds, words):
    assert shown(replace(TRAINING, seconds_left=seconds)).endswith(f"  {words}\n")


@given(step=st.integers(0, 10**6), total=st.integers(1, 10**6))
@settings(max_examples=50, deadline=None)
def test_percent_reaches_100_only_at_the_end(step, total):
    progress = RunProgress(step=min(step, total), total_steps=total, epoch=1)
    assert 0 <= progress.percent <= 100
    assert (progress.percent == 100) == (progress.step == total)


def test_notices_and_the_final_table_are_plain_lines_too():
    stream = io.StringIO()
    with ProgressDisplay("seedlings", stream=stream, interactive=False) as display:
        display.notice("attempt 2: resumed at step 40 with 3 workers")
        display.finish({"accuracy": "0.99", "weights": "sha256:ab"})
    assert stream.getvalue().splitlines() == [
        "seedlings  attempt 2: resumed at step 40 with 3 workers",
        "accuracy  0.99",
        "weights   sha256:ab",
    ]


def test_a_terminal_gets_a_bar_and_text_of_users_is_no_markup(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    with ProgressDisplay("my[red]job", stream=stream, interactive=True) as display:
        display.update(TRAINING)
        display.notice("worker [bold] lost")
        display.finish({"path": "/tmp/[x]/report.html"})
    text = stream.getvalue()
    for words in ("my[red]job", "loss 0.5000", "10/100", "worker [bold] lost", "/tmp/[x]/report.html"):
        assert words in text, words
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor must come back"


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140])
def test_a_narrow_terminal_drops_words_whole_and_keeps_step_and_digest(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    with ProgressDisplay("seedlings", stream=stream, interactive=True) as display:
        display.update(TRAINING)
        display.finish({"weights digest": "sha256:" + "ab" * 32})
    text = stream.getvalue()
    assert "…" not in text
    assert "10/100" in text
    assert "sha256:" + "ab" * 32 in text, "in one piece, so that it can be copied"


def test_the_terminal_is_given_back_when_the_run_raises():
    stream = io.StringIO()
    with pytest.raises(RuntimeError), ProgressDisplay("seedlings", stream=stream, interactive=True):
        raise RuntimeError
    assert stream.getvalue().count("\x1b[?25h") == 1


def test_nothing_goes_to_stdout_and_rich_is_not_imported_for_pipes():
    code = """
import sys
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.training.run_progress import RunProgress
with ProgressDisplay("seedlings") as display:
    display.update(RunProgress(step=1, total_steps=2, epoch=1))
    display.finish({"a": "b"})
assert "rich" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == ""
    assert "step 1/2 (50 %)" in done.stderr
