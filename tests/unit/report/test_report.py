"""The page is self-contained, well-formed, complete, and no text of a user becomes markup."""

from dataclasses import fields

import numpy as np
import pytest

from seedbed.report import (
    AttemptRow,
    ReportInputs,
    SamplePrediction,
    build_report,
    page_templates,
    run_report,
)
from unit.report.page_parser import HOSTILE, Page
from unit.report.sample_run import CLASSES, a_report, picture


def a_hostile_report() -> ReportInputs:
    sample = SamplePrediction(
        pixels_hwc=picture(1), true_class=HOSTILE, predicted_class="x" + HOSTILE, confidence=0.5
    )
    texts = {f.name: HOSTILE for f in fields(ReportInputs) if f.type == "str"}
    return a_report(
        **texts,
        metrics={HOSTILE: HOSTILE},
        classes=[HOSTILE] * 12,
        samples=[sample],
        rows_per_split={HOSTILE: 1},
        environment={HOSTILE: HOSTILE},
        digests={HOSTILE: HOSTILE},
        attempts=[AttemptRow(number=1, workers=1, from_step=0, to_step=1, seconds=1.0, outcome=HOSTILE)],
    )


@pytest.mark.parametrize("inputs", [a_report(), a_hostile_report()], ids=["a plain run", "a hostile user"])
def test_the_page_needs_nothing_and_runs_nothing(inputs):
    page = Page(build_report(inputs))
    assert page.findings == []
    assert page.open == []


def test_the_check_above_sees_what_it_looks_for(monkeypatch):
    unescaped = page_templates.page_template("report.html.j2").environment.overlay(autoescape=False)
    unescaped.cache = None
    monkeypatch.setattr(run_report, "page_template", unescaped.get_template)
    findings = Page(build_report(a_hostile_report())).findings
    assert "<script>" in findings
    assert "onerror=alert(2)" in findings


def test_hostile_text_is_shown_as_it_was_written():
    assert Page(build_report(a_hostile_report())).text.count("alert(1)") > 20


@pytest.mark.parametrize(
    "words",
    [
        "seedlings", "Trained", "0.9516", "Limited by compute: 65 % of the time (71.5 s)", "Loose Silky-bent",
        "sha256:9be19be1", "seedbed verify s3://runs", "Preempted", "optimizer: {type: SGD", '"class": "avx2"', "validation 554",
    ],
)  # fmt: skip
def test_what_a_reader_looks_for_is_there(words):
    assert words in " ".join(Page(build_report(a_report())).text.split())


def test_a_failed_run_says_why_and_leaves_out_what_it_lacks():
    html = build_report(
        ReportInputs(
            job="seedlings", state="NonFiniteLoss", run_id="sha256:00", succeeded=False, message="The loss was NaN at step 7.",
            train_losses=[(1, 2.0), (2, float("nan"))],
        )
    )  # fmt: skip
    page = Page(html)
    assert page.findings == []
    assert "The loss was NaN at step 7." in page.text
    assert "nan" not in html
    for absent in ("Confusion", "Sample predictions", "Attempts", "Where the time went", "Dataset", "Recipe"):
        assert absent not in page.text, absent


def test_a_thousand_classes_make_a_list_but_no_matrix():
    names = [f"class {i}" for i in range(1000)]
    html = build_report(a_report(classes=names, confusion_kk=np.eye(1000, dtype=np.int64)))
    assert "Confusion matrix" not in html
    assert "class 999" in html
    assert len(html) < 600_000


def test_the_size_does_not_grow_with_the_steps():
    long = [(step, 1.0 / step) for step in range(1, 200_001)]
    assert len(build_report(a_report(train_losses=long, learning_rates=long))) < 250_000


def test_small_and_large_pictures_become_thumbnails():
    samples = [
        SamplePrediction(
            pixels_hwc=np.zeros((size, 2 * size, 3), np.uint8),
            true_class="a",
            predicted_class="a",
            confidence=1.0,
        )
        for size in (8, 1000)
    ]
    page = Page(build_report(a_report(samples=samples)))
    assert page.tags.count("img") == 2
    assert page.findings == []


def test_every_class_is_a_row_of_the_score_table():
    text = Page(build_report(a_report(samples=[]))).text
    assert all(name in text for name in CLASSES)
