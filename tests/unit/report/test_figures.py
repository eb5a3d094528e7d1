"""Numbers behind the page: scores against scikit-learn, axes and thinning by their properties."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.report import TimeSpent
from seedbed.report.bottleneck import bottleneck_sentence, time_parts
from seedbed.report.confusion_scores import class_scores, worst_confusions
from seedbed.report.line_chart import (
    HEIGHT,
    WIDTH,
    Line,
    format_number,
    line_chart,
    nice_range,
    smooth,
    thin_out,
)

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
POINTS = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=60
)


@given(low=VALUES, high=VALUES, whole=st.booleans())
@settings(max_examples=100, deadline=None)
def test_an_axis_holds_its_data_with_few_round_ticks(low, high, whole):
    low, high = min(low, high), max(low, high)
    axis = nice_range(low, high, whole=whole)
    slack = 1e-6 * (axis.high - axis.low)  # a thousandth of a pixel
    assert axis.low <= low + slack
    assert axis.high >= high - slack
    assert axis.low < axis.high
    assert 1 <= len(axis.ticks) <= 8


@given(points=POINTS)
@settings(max_examples=100, deadline=None)
def test_every_point_is_drawn_inside_the_chart(points):
    svg = line_chart("t", [Line(label="l", points=points, style="line-1", marked=True)], x_label="step")
    finite = [p for p in points if math.isfinite(p[1])]
    assert bool(svg) == bool(finite)
    drawn = re.findall(r'points="([^"]*)"', svg)
    pairs = [tuple(map(float, pair.split(","))) for pair in (drawn[0].split() if drawn else [])]
    assert len(pairs) == len(finite)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in pairs)


@given(length=st.integers(1, 3000), most=st.integers(2, 500))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_the_end_the_order_and_the_bound(length, most):
    points = [(float(i), float(i % 7)) for i in range(length)]
    kept = thin_out(points, most=most)
    assert len(kept) <= max(most, 1)
    assert kept[-1] == points[-1]
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)


@given(ys=st.lists(st.integers(-1000, 1000), min_size=1, max_size=50), window=st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_the_smoothed_line_is_the_mean_of_the_last_points(ys, window):
    points = [(float(i), float(y)) for i, y in enumerate(ys)]
    for index, (_, value) in enumerate(smooth(points, window=window)):
        stretch = ys[max(0, index - window + 1) : index + 1]
        assert value == pytest.approx(sum(stretch) / len(stretch))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.1, "0.1"), (0.30000000000000004, "0.3"), (1e-4, "1e-4"), (0.00025, "2.5e-4"), (12000, "12000"), (2e6, "2e6")],
)  # fmt: skip
def test_numbers_are_short(value, shown):
    assert format_number(value) == shown


@pytest.mark.slow
@given(data=st.data(), classes=st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_scikit_learn(data, classes):
    from sklearn.metrics import precision_recall_fscore_support

    counts = np.array(
        data.draw(st.lists(st.integers(0, 4), min_size=classes**2, max_size=classes**2))
    ).reshape(classes, classes)
    pairs = [(t, p) for t in range(classes) for p in range(classes) for _ in range(counts[t, p])]
    if not pairs:
        pairs, counts = [(0, 0)], counts + np.eye(classes, dtype=np.int64) * (np.arange(classes) == 0)
    truth, predicted = zip(*pairs, strict=True)
    theirs = precision_recall_fscore_support(truth, predicted, labels=range(classes), zero_division=0)
    ours = class_scores(counts, [str(i) for i in range(classes)])
    for index, score in enumerate(ours):
        mine = [score.precision or 0, score.recall or 0, score.f1 or 0, score.rows]
        assert mine == pytest.approx([float(column[index]) for column in theirs])


def test_a_class_that_was_never_seen_has_no_score_rather_than_zero():
    score = class_scores(np.array([[3, 0], [0, 0]]), ["a", "b"])[1]
    assert (score.precision, score.recall, score.f1) == (None, None, None)


def test_the_worst_confusions_come_first_and_hits_are_none():
    counts = np.array([[9, 2, 0], [5, 9, 0], [2, 0, 0]])
    found = worst_confusions(counts, "abc", most=8)
    assert [(c.true_class, c.predicted_class, c.count) for c in found] == [
        ("b", "a", 5),
        ("a", "b", 2),
        ("c", "a", 2),
    ]
    assert found[2].share == 1.0


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        (TimeSpent(compute=80, data=20), "Limited by compute: 80 % of the time (80.0 s)"),
        (TimeSpent(data=4, compute=3, exchange=3), "Limited mostly by data: 40 %"),
        (TimeSpent(exchange=6, compute=4), "Limited by exchange"),
        (TimeSpent(start_up=9, compute=1), "Limited by start-up"),
        (TimeSpent(checkpoint=9, compute=1), "Limited by checkpoint"),
        (TimeSpent(evaluation=9, compute=1), "Limited by evaluation"),
        (TimeSpent(compute=-5, data=1), "Limited by data: 100 %"),
        (TimeSpent(), ""),
    ],
)
def test_one_sentence_on_what_limited_the_run(spent, words):
    assert bottleneck_sentence(spent).startswith(words)
    assert bool(bottleneck_sentence(spent)) == bool(words)
    assert sum(part.share for part in time_parts(spent)) == pytest.approx(1.0 if words else 0.0)
