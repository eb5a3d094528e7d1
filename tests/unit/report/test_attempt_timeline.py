"""Where the time of a run went and how its attempts ended, as the events of all attempts tell."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.driver.attempt_events import AttemptEvents
from seedbed.driver.startup_timings import StartupTimings, mark_startup_times
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.report.attempt_timeline import RunTimeline, attempt_rows, read_timeline, timeline_of
from seedbed.report.bottleneck import bottleneck_sentence
from seedbed.report.run_report_data import TimeSpent
from seedbed.runs.attempt_claims import claim_attempt
from seedbed.runs.attempt_event_log import AttemptEventLog, read_events
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from seedbed.training.run_progress import PartSeconds, RunProgress, StartupTimes
from seedbed_api.errors import InfrastructureError

BEGAN = 1_000_000.0
FIRST = RunProgress(
    step=1,
    total_steps=100,
    epoch=1,
    workers=2,
    phase="Training",
    startup_times=StartupTimes(began=BEGAN + 10),
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return open_run(open_storage(str(tmp_path)), "sha256:" + "ab" * 32)


@dataclass(kw_only=True)
class DriverAttempt:
    """One attempt, written through the driver's own chronicle; its clock is ours."""

    folder: RunFolder
    number: int
    waited: float = 0.0
    """For the claim of another."""
    now: float = BEGAN

    def __post_init__(self) -> None:
        claim_attempt(self.folder, self.number, workers=2, version="0")
        events = AttemptEventLog(folder=self.folder, attempt=self.number)
        self.timeline = StartupTimings(began=BEGAN)
        self.timeline.mark("ProgramLoaded", at=BEGAN + 3)
        self.timeline.mark("RunClaimed", at=BEGAN + 3 + self.waited)
        self.chronicle = AttemptEvents(events=events, timings=self.timeline, clock=lambda: self.now)

    def tell(self, progress: RunProgress, *, group: int = 1, at: float) -> None:
        began = BEGAN + 10 + self.waited
        mark_startup_times(
            self.timeline, StartupTimes(began=began, first_batch=began + 1, first_step=began + 2)
        )
        self.now = BEGAN + self.waited + at
        self.chronicle.follow(progress, group=group)

    def end(self, error: Exception | None = None, *, outcome: str = "Trained", at: float) -> None:
        self.now = BEGAN + self.waited + at
        with self.chronicle.recording_the_end(lambda: outcome):
            if error is not None:
                raise error


def kept(step: int, *, resumed_from: int = 0, workers: int = 2, seconds: PartSeconds) -> RunProgress:
    """Return what is told with a checkpoint."""
    leaves = (step - resumed_from,) * workers
    return replace(
        FIRST, step=step, resumed_from=resumed_from, workers=workers, leaves_by_worker=leaves, seconds=seconds
    )


def a_run_that_was_killed_stopped_and_continued(folder: RunFolder) -> RunTimeline:
    """Three attempts: one killed at second 65, one stopped at 40, one that waited an hour and came to the end."""
    killed = DriverAttempt(folder=folder, number=1)
    killed.tell(FIRST, at=12)
    killed.tell(kept(50, seconds=PartSeconds(data=5, compute=40, evaluation=5)), at=60)
    stopped = DriverAttempt(folder=folder, number=2)
    stopped.tell(kept(70, resumed_from=50, seconds=PartSeconds(compute=20, checkpoint=5)), at=35)
    with pytest.raises(StopRequested):
        stopped.end(StopRequested(), at=40)
    last = DriverAttempt(folder=folder, number=3, waited=3600)
    last.tell(kept(100, resumed_from=70, seconds=PartSeconds(data=1, compute=28, reduce=1)), at=40)
    last.end(at=42)
    return read_timeline(folder)


def test_the_time_is_that_of_all_attempts_and_no_second_counts_twice(folder: RunFolder) -> None:
    spent = a_run_that_was_killed_stopped_and_continued(folder).time_spent
    assert spent == TimeSpent(
        start_up=30, data=6, compute=88, exchange=1, evaluation=5, checkpoint=5, other=0 + 5 + 2
    )
    assert sum(astuple(spent)) == 60 + 40 + 42, (
        "each attempt up to its last word, without the wait for another's"
    )
    assert bottleneck_sentence(spent).startswith("Limited by compute: 62 % of the time (88.0 s)")


def test_each_attempt_says_how_it_ended(folder: RunFolder) -> None:
    rows = attempt_rows(folder, a_run_that_was_killed_stopped_and_continued(folder))
    assert [(row.number, row.from_step, row.to_step, row.seconds, row.outcome) for row in rows] == [
        (1, 0, 50, 50, "Killed or lost"),
        (2, 50, 70, 25, "Stopped"),
        (3, 70, 100, 30, "Trained"),
    ]


def test_worker_groups_of_one_attempt_are_told_apart(folder: RunFolder) -> None:
    """One is lost before it kept anything, its successor begins where it had and is replaced by a larger one."""
    attempt = DriverAttempt(folder=folder, number=1)
    attempt.tell(replace(FIRST, step=7, seconds=PartSeconds(compute=7)), at=17)
    attempt.tell(replace(FIRST, seconds=PartSeconds(compute=1)), group=2, at=28)
    attempt.tell(kept(30, seconds=PartSeconds(compute=30)), group=2, at=57)
    attempt.tell(kept(31, resumed_from=30, workers=4, seconds=PartSeconds(compute=1)), group=3, at=63)
    error = InfrastructureError("WorkersLost", "gone")
    with pytest.raises(InfrastructureError):
        attempt.end(error, at=65)
    story = read_timeline(folder)
    assert [
        (row.workers, row.from_step, row.to_step, row.outcome) for row in attempt_rows(folder, story)
    ] == [
        (2, 0, 7, "Lost, and 7 steps with it"),
        (2, 0, 30, "Replaced by 4 workers"),
        (4, 30, 31, "Failed: WorkersLost"),
    ]
    assert story.time_spent == TimeSpent(start_up=10, compute=38, other=17)
    assert story.steps_per_second == 1.0


def test_an_attempt_that_failed_before_its_first_step_is_start_up_and_says_why(folder: RunFolder) -> None:
    attempt = DriverAttempt(folder=folder, number=1)
    with pytest.raises(InfrastructureError):
        attempt.end(InfrastructureError("RayUnhealthy", "down"), at=20)
    story = read_timeline(folder)
    (row,) = attempt_rows(folder, story)
    assert (row.from_step, row.seconds, row.outcome) == (None, 20, "Failed: RayUnhealthy")
    assert story.time_spent == TimeSpent(start_up=3, other=17)
    assert bottleneck_sentence(story.time_spent).startswith("Limited by overhead")


def test_one_that_is_still_under_way_has_not_ended(folder: RunFolder) -> None:
    DriverAttempt(folder=folder, number=1).tell(FIRST, at=12)
    (row,) = attempt_rows(folder, read_timeline(folder))
    assert row.outcome == ""


def test_events_of_an_older_version_are_read(folder: RunFolder) -> None:
    events = AttemptEventLog(folder=folder, attempt=1)
    for step in (40, 60):
        events.add("Progress", workers=3, resumedFrom=40, step=step, leavesByWorker=[])
    events.flush()
    for number in (1, 2):
        claim_attempt(folder, number, workers=3, version="0")
    story = read_timeline(folder)
    assert (story.time_spent, story.steps_per_second) == (None, 0.0)
    assert [row.outcome for row in attempt_rows(folder, story)] == ["", ""], "nobody spoke of ends then"


_SECONDS = st.builds(
    PartSeconds, **{name: st.floats(0, 1000) for name in ("data", "compute", "reduce", "checkpoint")}
)


@settings(deadline=None, max_examples=30)
@given(
    attempts=st.lists(
        st.tuples(st.lists(st.tuples(_SECONDS, st.floats(0, 50)), max_size=4), st.booleans()), max_size=4
    )
)
def test_the_parts_add_up_to_the_time_of_all_attempts_as_far_as_they_told(
    attempts: list[tuple[list[tuple[PartSeconds, float]], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = open_run(open_storage(str(tmp_path_factory.mktemp("run"))), "sha256:" + "cd" * 32)
    wall = 0.0
    for number, (groups, is_killed) in enumerate(attempts, start=1):
        attempt, at = DriverAttempt(folder=folder, number=number, waited=7.0), 10.0
        for group, (seconds, pause) in enumerate(groups, start=1):
            at += sum(astuple(seconds)) + pause
            attempt.tell(kept(group, resumed_from=group - 1, seconds=seconds), group=group, at=at)
        if not is_killed:
            at += 1.0
            attempt.end(at=at)
        wall += at if groups or not is_killed else 0.0
    spent = timeline_of(read_events(folder)).time_spent
    assert sum(astuple(spent)) == pytest.approx(wall, abs=0.1) if spent else wall == 0.0
    assert spent is None or min(astuple(spent)) >= 0.0
