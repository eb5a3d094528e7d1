"""Each alert fires in the situation that it is for and resolves when that is over: `promtool test rules`."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import alerts
from chart.metric_names import families_in
from chart.rendering import CHART
from seedbed_api import metric_names as names
from seedbed_api.execution_settings import Lifecycle
from seedbed_operator.manager.health_server import max_relist_age
from seedbed_operator.manager.operator_settings import Settings
from testbed.prometheus import program

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
RUNBOOKS = Path(__file__).parents[2] / alerts.RUNBOOKS
JOB = 'namespace="team", name="seedlings", kind="TrainingJob"'
OF_JOB = {"namespace": "team", "name": "seedlings", "kind": "TrainingJob"}
SWEEP = 'namespace="team", name="widths", kind="SweepJob"'
OF_SWEEP = {"namespace": "team", "name": "widths", "kind": "SweepJob"}
HUNG = 'reason="ProgressDeadlineExceeded"'
ADVANCE, DEADLINE = (f"{each.name}{{{JOB}}}" for each in (names.JOB_ADVANCE, names.JOB_PROGRESS_DEADLINE))


def info(condition: str, reason: str, job: str = JOB) -> str:
    return f'{names.JOB_INFO.name}{{{job}, profile="gpu", condition="{condition}", reason="{reason}"}}'


RUNS = {info("Running", "Training"): "1x300"}
LEADS = {names.LEADER.name: "1x300", f'{names.RECONCILES.name}{{result="success"}}': "0+60x300"}


@dataclass(frozen=True, kw_only=True)
class Story:
    """Series by minute; when the alert is silent, fires, and is silent again."""

    alert: str
    series: dict[str, str]
    before: int
    firing: int
    after: int | None
    """None where what is over with it is the object."""
    labels: dict[str, str]


STORIES = {
    "no operator leads": Story(
        alert="SeedbedOperatorNotReconciling",
        series={names.LEADER.name: "1x20 0x30 1x60"},
        before=15,
        firing=30,
        after=60,
        labels={},
    ),
    "the operator is gone altogether": Story(
        alert="SeedbedOperatorNotReconciling",
        series={names.LEADER.name: "1x20 _x30 1x60"},
        before=15,
        firing=45,
        after=65,
        labels={},
    ),
    "the operator is blind": Story(
        alert="SeedbedOperatorNotReconciling",
        series=LEADS | {names.RELIST_AGE.name: "60x20 60+60x30 30x60"},
        before=15,
        firing=45,
        after=70,
        labels={},
    ),
    "every list fails, and the operator is started again and again": Story(
        alert="SeedbedOperatorNotReconciling",
        series=LEADS | {names.RELIST_AGE.name: f"60x20{' 0 60 120 180 240 300 360 420' * 5} 30x60"},
        before=15,
        firing=28,
        after=70,
        labels={},
    ),
    "jobs wait for passes": Story(
        alert="SeedbedOperatorNotReconciling",
        series=LEADS | {names.QUEUE_AGE.name: "0x20 0+60x30 0x60"},
        before=15,
        firing=45,
        after=70,
        labels={},
    ),
    "most passes fail": Story(
        alert="SeedbedOperatorNotReconciling",
        series=LEADS | {f'{names.RECONCILES.name}{{result="failure"}}': "0x20 0+600x30 18000x60"},
        before=15,
        firing=45,
        after=80,
        labels={},
    ),
    "a job waits for a person": Story(
        alert="SeedbedJobStalled",
        series={
            f"{names.JOB_STALLED.name}{{{JOB}}}": "0x20 1x30 0x60",
            info("Waiting", "URINotAllowed"): "1x120",
        },
        before=15,
        firing=45,
        after=60,
        labels=OF_JOB,
    ),
    "a job makes no step, a minute before its attempt is ended for that": Story(
        alert="SeedbedJobStalled",
        series={ADVANCE: f"0+60x20 1200x9 {'_ ' * 4}2040+60x30", DEADLINE: "600x90"},
        before=25,
        firing=29,
        after=36,
        labels=OF_JOB,
    ),
    "a job that is given an hour for a step": Story(
        alert="SeedbedJobStalled",
        series={ADVANCE: "0+60x20 1200x50 4260+60x30", DEADLINE: "3600x120"},
        before=50,
        firing=55,
        after=72,
        labels=OF_JOB,
    ),
    "a sweep hangs in every attempt, until it has failed": Story(
        alert="SeedbedJobStalled",
        series={
            f"{names.JOB_FAILURE.name}{{{SWEEP}, {HUNG}, pod='operator-0'}}": "_x20 1200x14 _x120",
            f"{names.JOB_FAILURE.name}{{{SWEEP}, {HUNG}, pod='operator-1'}}": "_x35 1200x5 2400x100",
            info("Waiting", "ProgressDeadlineExceeded", SWEEP): "1x90",
            info("Failed", "BackoffLimitExceeded", SWEEP): "_x91 1x60",
        },
        before=20,
        firing=90,
        after=92,
        labels=OF_SWEEP,
    ),
    "a job has hung, and trains since": Story(
        alert="SeedbedJobStalled",
        series={f"{names.JOB_FAILURE.name}{{{JOB}, {HUNG}}}": "_x20 1200x120"} | RUNS,
        before=20,
        firing=75,
        after=81,
        labels=OF_JOB,
    ),
    "a feed that cannot keep up": Story(
        alert="SeedbedDataStarvation",
        series={
            f'{names.SECONDS.name}{{{JOB}, part="data"}}': "0+3x30 90+40x50 2090+3x60",
            f'{names.SECONDS.name}{{{JOB}, part="compute"}}': "0+57x30 1710+20x50 2710+57x60",
        },
        before=25,
        firing=75,
        after=110,
        labels=OF_JOB,
    ),
    "a job that failed of a loss that was no number, until an hour later": Story(
        alert="SeedbedDivergence",
        series={
            info("Failed", "NonFiniteLoss"): "_x10 1x120",
            f"{names.JOB_END.name}{{{JOB}}}": "_x10 600x120",
        },
        before=5,
        firing=30,
        after=75,
        labels=OF_JOB | {"profile": "gpu", "condition": "Failed", "reason": "NonFiniteLoss"},
    ),
    "a cache that is too small": Story(
        alert="SeedbedCacheThrash",
        series={
            f'{names.CACHE_REQUESTS.name}{{{JOB}, result="hit"}}': "0+99x30 2970+30x60 4770+99x90",
            f'{names.CACHE_REQUESTS.name}{{{JOB}, result="miss"}}': "0+1x30 30+70x60 4230+1x90",
        },
        before=25,
        firing=85,
        after=140,
        labels=OF_JOB,
    ),
    "eight preemptions within an hour": Story(
        alert="SeedbedPreemptionStorm",
        series={
            f'{names.ATTEMPTS_ENDED.name}{{namespace="team", kind="TrainingJob", cause="Preemption", reason="Preempted"}}': (
                "1x30 1+1x8 9x180"
            )
        },
        before=25,
        firing=50,
        after=160,
        labels={"namespace": "team"},
    ),
    "nothing kept for an hour": Story(
        alert="SeedbedCheckpointAge",
        series=RUNS | {f"{names.JOB_CHECKPOINT.name}{{{JOB}}}": "0x100 6000x60"},
        before=60,
        firing=90,
        after=110,
        labels=OF_JOB,
    ),
}


@pytest.fixture(scope="module")
def promtool() -> str:
    return program("promtool")


def judged(
    promtool: str, folder: Path, stories: Iterable[Story], rules: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Let promtool play stories, each from its beginning."""
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    tests = [played(story, rules) for story in stories]
    document = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yaml").write_text(json.dumps(document), encoding="utf-8")
    command = [promtool, "test", "rules", str(folder / "test.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def played(story: Story, rules: dict[str, Any]) -> dict[str, Any]:
    """Return a story as promtool plays it."""
    moments = [(story.before, False), (story.firing, True), *([(story.after, False)] if story.after else [])]
    tests = [
        {
            "eval_time": f"{minute}m",
            "alertname": story.alert,
            "exp_alerts": [expected(story, rules)] if fires else [],
        }
        for minute, fires in moments
    ]
    series = [{"series": name, "values": values} for name, values in story.series.items()]
    return {"interval": "1m", "input_series": series, "alert_rule_test": tests}


def expected(story: Story, rules: dict[str, Any]) -> dict[str, Any]:
    """Return what promtool is to compare; annotations with values are compared by their text without them."""
    rule = next(rule for rule in rules["groups"][0]["rules"] if rule["alert"] == story.alert)
    return {"exp_labels": story.labels | rule["labels"], "exp_annotations": rule["annotations"]}


def plain(rules: dict[str, Any]) -> dict[str, Any]:
    """Return the rules with one annotation only: figures in words are not what is tested."""
    (group,) = rules["groups"]
    kept = [rule | {"annotations": {"runbook": rule["annotations"]["runbook"]}} for rule in group["rules"]]
    return {"groups": [group | {"rules": kept}]}


ELSEWHERE = {
    "the operator of another cluster leads": LEADS,
    "a job of the same name trains in another cluster": RUNS
    | {
        ADVANCE: "0+60x300",
        DEADLINE: "600x300",
        f"{names.JOB_STALLED.name}{{{JOB}}}": "0x300",
        f"{names.JOB_CHECKPOINT.name}{{{JOB}}}": "0+60x300",
        f'{names.SECONDS.name}{{{JOB}, part="data"}}': "0+1x300",
        f'{names.SECONDS.name}{{{JOB}, part="compute"}}': "0+1000x300",
        f'{names.CACHE_REQUESTS.name}{{{JOB}, result="hit"}}': "0+1000x300",
    },
    "a job of the same name is over in another cluster": {
        info("Complete", "Trained"): "1x300",
        f"{names.JOB_END.name}{{{JOB}}}": "0x300",
    },
}
"""What goes well in a second cluster, and must neither hide what goes wrong in the first nor be told of."""


def in_cluster(series: dict[str, str], cluster: str) -> dict[str, str]:
    """Return series as a Prometheus has them that reads several clusters."""
    label = f'cluster="{cluster}"'
    return {
        name.replace("{", f"{{{label}, ", 1) if "{" in name else f"{name}{{{label}}}": values
        for name, values in series.items()
    }


@pytest.mark.parametrize("elsewhere", ELSEWHERE.values(), ids=ELSEWHERE)
def test_each_tells_of_one_cluster_whatever_goes_on_in_another(
    promtool: str, tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    there = [
        dataclasses.replace(
            story,
            series=in_cluster(story.series, "first") | in_cluster(elsewhere, "second"),
            labels=story.labels | {"cluster": "first"},
        )
        for story in STORIES.values()
    ]
    done = judged(promtool, tmp_path, there, plain(alerts.groups()))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_it_fires_and_resolves(promtool: str, tmp_path: Path, story: Story) -> None:
    done = judged(promtool, tmp_path, [story], plain(alerts.groups()))
    assert done.returncode == 0, done.stdout + done.stderr


def the(name: str) -> alerts.Alert:
    (found,) = (alert for alert in alerts.ALERTS if alert.name == name)
    return found


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def test_a_blind_operator_is_told_of_before_it_is_started_again() -> None:
    sweep = Settings.relist_seconds
    scrape = seconds(VALUES["metrics"]["podMonitor"]["interval"])
    told_after = alerts.BLIND_SECONDS + scrape + seconds(the("SeedbedOperatorNotReconciling").wait)
    assert 1.1 * sweep + scrape < alerts.BLIND_SECONDS, "one that sweeps is not blind"
    assert told_after < max_relist_age(sweep)


def test_a_job_that_hangs_is_told_of_before_its_attempt_is_ended() -> None:
    deadline = Lifecycle.model_fields["progress_deadline_seconds"].default
    scrape = seconds(VALUES["metrics"]["podMonitor"]["interval"])
    told_after = alerts.HANGING * deadline + scrape + seconds(the("SeedbedJobStalled").wait)
    assert told_after < deadline


def test_a_rule_that_asks_for_another_name_does_not_fire(promtool: str, tmp_path: Path) -> None:
    rules = json.loads(
        json.dumps(plain(alerts.groups())).replace(names.JOB_CHECKPOINT.name, "seedbed_renamed")
    )
    assert judged(promtool, tmp_path, [STORIES["nothing kept for an hour"]], rules).returncode != 0


def test_every_alert_has_a_story_and_its_metrics_are_in_the_registry() -> None:
    assert {story.alert for story in STORIES.values()} == {alert.name for alert in alerts.ALERTS}
    known = {family.name for family in names.FAMILIES}
    for alert in alerts.ALERTS:
        assert families_in(alert.expr) <= known, alert.name


def test_the_file_is_what_prometheus_accepts(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", str(alerts.FILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts.ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_runbook_with_commands(alert: alerts.Alert) -> None:
    text = (RUNBOOKS / f"{alert.runbook}.md").read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert titles == [alert.name, "Meaning", "Diagnosis", "Mitigation"]
    diagnosis, mitigation = text.split("## Diagnosis")[1].split("## Mitigation")
    assert "```console\nkubectl " in diagnosis
    assert "kubectl" in mitigation or "spec." in mitigation
    assert alert.summary.endswith(".")
