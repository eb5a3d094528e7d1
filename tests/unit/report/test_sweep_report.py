"""The page of a sweep: whatever was searched and however it ended, it says so, and stays small."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from seedbed.report import SweepInputs, build_sweep_report
from seedbed.report.search_space_axes import Options, Scale
from seedbed.report.sweep_report import sample, shown_bounds
from seedbed.search.learning_curve import Failed, Finished, LearningCurve
from seedbed.search.objective_values import SCALE
from seedbed.search.parameter_importance import parameter_importance
from seedbed.search.pruners import PrefixASHAPruner, Verdict
from seedbed.search.search_space import Assignments
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import DecidedTrial, TrialRuns, TrialState
from seedbed.search.trial_ranking import rank_trials
from seedbed_api.sweepjob import SweepJobSpec
from unit.report.page_parser import HOSTILE, Page
from unit.search.sweeps import a_parameter, a_rate, a_sweep, values

ASHA = {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}}
MEDIAN = {"type": "Median", "median": {"minEpochs": 2, "minTrials": 3}}
LOSS = {"objective": {"metric": "validation/loss", "direction": "Minimize"}}
EPOCHS = 27


class Ranges(Page):
    """A page of a sweep may point to the runs and the ledger beside it, and nowhere else."""

    def __init__(self, html: str) -> None:
        super().__init__(html)
        own = re.compile(r"href=(ledger\.json|\.\./\.\./runs/[0-9a-f]{64}/)$")
        self.findings = [each for each in self.findings if not own.match(each)]
        self.words = " ".join(self.text.split())


def quality(point: Assignments) -> float:
    """Return how good a point is, 0 to 1: by its learning rate, else by its spelling."""
    rate = dict(point).get("lr")
    if rate is None:
        return (sum(map(ord, str(point))) % 97) / 97
    return 1 / (1 + abs(math.log10(float(rate)) + 2))


def searched(
    spec: SweepJobSpec, *, fails: Callable[[int], bool] = lambda _index: False, **fields: Any
) -> SweepInputs:
    """Search to the end, with runs that are made up, and return what the report is told."""
    search, courses = Search(spec), dict[int, LearningCurve]()
    while search.ended is None:
        task = next(search.tasks())
        rate = quality(task.assignments)
        curve = [(e, round(SCALE * rate * (1 - 0.5**e))) for e in range(1, EPOCHS + 1)]
        end = Failed(reason="NonFiniteLoss") if fails(task.index) else Finished(value=curve[-1][1])
        courses[task.index] = LearningCurve(values=() if fails(task.index) else tuple(curve), end=end)
        search.record_trial(task.index, [courses[task.index]] * search.folds)
    trials = search.trials
    return SweepInputs(
        job="seedlings",
        spec=spec,
        ended=search.ended,
        trials=trials,
        trial_runs={t.index: TrialRuns(run_ids=(f"sha256:{t.index:064x}",) * search.folds) for t in trials},
        curves={trial.index: courses[trial.index].values for trial in trials},
        importance=parameter_importance(spec, trials),
        record_uri="runs/sweeps/0/ledger.json",
        **fields,
    )


def a_conditional_sweep(**fields: Any) -> SweepJobSpec:
    width = a_parameter(
        "width", searchSpace={"int": {"min": 1, "max": 9}}, when={"parameter": "net", "in": ["wide"]}
    )
    return a_sweep(a_rate(), values("net", "wide", "narrow"), width, **fields)


STORIES: dict[str, tuple[SweepInputs, tuple[str, ...], tuple[str, ...]]] = {
    "plain cross-validation of one recipe": (
        searched(a_sweep(maxTrialCount=1, crossValidation={"folds": 3})),
        ("Trial 0 is the best", "every trial was tried", "Folds", "mean over folds", "000000000000"),
        ("Parallel coordinates", "Importance", "Rungs", "Failed trials"),
    ),
    "one trial": (
        searched(a_sweep(a_rate(), maxTrialCount=1)),
        ("Parallel coordinates", "Learning curves", "Too few trials with an objective"),
        ("Rungs", "Failed trials", "Ended early"),
    ),
    "all failed": (
        searched(a_sweep(a_rate(), maxTrialCount=9, maxFailedTrialCount=2), fails=lambda _: True),
        ("FailureLimitExceeded", "with trial 2; none succeeded.", "NonFiniteLoss", "Failed trials"),
        ("Ranking", "Learning curves", "is the best"),
    ),
    "a target that is reached": (
        searched(
            a_sweep(
                a_rate(),
                maxTrialCount=90,
                objective={"metric": "validation/accuracy", "direction": "Maximize", "target": "0.8"},
            )
        ),
        ("TargetReached", "reached the target"),
        ("Failed trials",),
    ),
    "conditions, categories and some failures": (
        searched(
            a_conditional_sweep(maxTrialCount=60, maxFailedTrialCount=60, **LOSS), fails=lambda i: i % 7 == 3
        ),
        ("not set", "narrow", "Failed trials", "NonFiniteLoss", "PED-ANOVA", "lr"),
        ("Rungs",),
    ),
    "prefix ASHA": (
        searched(a_sweep(a_rate(), maxTrialCount=30, earlyStopping=ASHA)),
        ("Rungs", "Ended early", "up to its index; the best", "goes on"),
        (),
    ),
    "the median": (
        searched(a_sweep(a_rate(), maxTrialCount=20, earlyStopping=MEDIAN)),
        ("Rungs", "trials of lower index were better"),
        (),
    ),
    "500 trials": (
        searched(a_sweep(a_rate(), maxTrialCount=500)),
        (
            "200 of 500 trials are drawn: the best, and others evenly by index",
            "50 of 500 are listed",
            "60 of 500 trials are drawn",
        ),
        (),
    ),
}


@pytest.mark.parametrize(("inputs", "told", "silent"), STORIES.values(), ids=STORIES)
def test_the_page_says_what_came_of_the_sweep(
    inputs: SweepInputs, told: tuple[str, ...], silent: tuple[str, ...]
) -> None:
    html = build_sweep_report(inputs)
    page = Ranges(html)
    assert page.findings == []
    assert page.open == []
    assert [words for words in told if words not in page.words] == []
    assert [words for words in silent if words in page.words.replace("Best", "")] == []
    assert "nan" not in html.lower().replace("name", "")
    assert len(html) < 300_000


def test_every_line_stays_in_the_picture_and_every_chart_has_a_name() -> None:
    html = build_sweep_report(STORIES["conditions, categories and some failures"][0])
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        assert re.search(r'role="img" aria-label="[^"]+"', svg)
        width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
        lines = re.findall(r'points="([^"]*)"', svg)
        assert lines
        for x, y in (pair.split(",") for line in lines for pair in line.split()):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
    drawn = re.findall(r'class="chart coordinates".*?</svg>', html, re.S)[0]
    assert drawn.count("<polyline") == 60
    assert drawn.count('<polyline class="failed"') == 9
    assert drawn.count('<polyline class="best"') == 1
    assert drawn.rindex('class="best"') > drawn.rindex('class="upper"'), "the best lies over the others"


def test_why_a_trial_was_ended_agrees_with_the_verdict() -> None:
    """What the page says in hindsight is what the rule says of the same rivals."""
    from seedbed.search.prune_reasons import PruneReasons

    inputs = STORIES["prefix ASHA"][0]
    rule = PrefixASHAPruner(rungs=(1, 3, 9), reduction_factor=3)
    pruned = [trial for trial in inputs.trials if trial.state is TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        rivals = PruneReasons(inputs.spec, inputs.trials).comparison(trial)
        assert rivals.unknown == 0
        assert rule.verdict(rivals) is Verdict.PRUNE


def test_the_largest_sweep_makes_a_page_of_bounded_size() -> None:
    """32 parameters with the longest names and values, and 5,000 trials."""
    letters = [f"{place:02d}" + "v" * 254 for place in range(64)]
    spec = a_sweep(*(values(f"p{place:02d}" + "n" * 60, *letters) for place in range(32)), maxTrialCount=5000)
    point = tuple((parameter.name, letters[-1]) for parameter in spec.parameters)
    trials = [
        DecidedTrial(
            index=index,
            assignments=point,
            state=TrialState.SUCCEEDED,
            objective=index * 10**8,
            folds=(index,),
        )
        for index in range(5000)
    ]
    ended = STORIES["one trial"][0].ended
    html = build_sweep_report(SweepInputs(job="x", spec=spec, ended=ended, trials=trials))
    assert len(html) < 1_500_000
    assert "of 5,000" in Ranges(html).words


def test_no_text_of_a_user_becomes_markup() -> None:
    spec = a_sweep(values("net", HOSTILE, "b"), maxTrialCount=12)
    inputs = searched(spec, created=HOSTILE, sweep=HOSTILE)
    page = Ranges(build_sweep_report(inputs))
    assert page.findings == []
    assert page.open == []
    assert "alert(1)" in page.words


def test_a_sample_holds_the_best_and_a_spread_of_the_others() -> None:
    inputs = STORIES["500 trials"][0]
    best = rank_trials(inputs.trials, Search(inputs.spec).goal)
    kept = sample(inputs.trials, best, most=90)
    indices = [trial.index for trial in kept]
    assert len(kept) == 90
    assert indices == sorted(set(indices))
    assert {trial.index for trial in best[:30]} <= set(indices)
    assert indices[0] < 25
    assert indices[-1] > 475


@pytest.mark.parametrize(
    ("numbers", "maximize", "bounds"),
    [
        ([1.0], False, (1.0, 1.0)),
        ([1.0, 1e9], False, (1.0, 1e9)),
        ([1.0, 2.0, 3.0, 4.0, 1e9], False, (1.0, 13.0)),
        ([5.0, 5.0, 5.0, 5.0, 5.0], False, (5.0, 5.0)),
        ([5.0, 5.0, 5.0, 5.0, 9.0], False, (5.0, 9.0)),
        ([0.1, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95], True, (0.77, 0.95)),
    ],
    ids=["one", "two", "one diverged", "all equal", "all but one equal", "one that learnt nothing"],
)
def test_what_is_far_worse_does_not_squeeze_the_others(
    numbers: list[float], maximize: bool, bounds: tuple[float, float]
) -> None:
    assert shown_bounds(numbers, maximize=maximize) == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("scale", "value", "place"),
    [
        (Scale(low=1e-4, high=1e-2, logarithmic=True), 1e-3, 0.5),
        (Scale(low=0.0, high=1.0, downwards=True), 0.25, 0.75),
        (Scale(low=3.0, high=3.0), 3.0, 0.5),
        (Scale(low=0.0, high=1.0), 7.0, 1.0),
    ],
    ids=["logarithmic", "downwards", "a single value", "beyond the end"],
)
def test_where_a_number_lies(scale: Scale, value: float, place: float) -> None:
    assert scale.place(value) == pytest.approx(place)


def test_many_options_are_not_all_written() -> None:
    options = Options(values=[f"value {index} of a long list" for index in range(64)])
    ticks = options.ticks()
    assert len(ticks) <= 12
    assert ticks[0].text == "value 0 of a long…"
    assert ticks[0].whole == "value 0 of a long list"
