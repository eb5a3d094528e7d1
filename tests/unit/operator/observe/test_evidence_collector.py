"""What is gathered for a plan and what is remembered of drivers between passes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.kube_client.resource_kinds import PODS, JobKey
from seedbed_operator.observe.driver_polls import DriverPolls
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import TransientState, TransientStates
from seedbed_operator.plan import EvidenceRequest
from support.operator.builders import UID, after, live
from support.operator.fake_api_server import NOON, ApiServer
from support.operator.operator_instance import Drivers

JOB = JobKey("team", "digits")


def collector(server: ApiServer, drivers: Drivers) -> EvidenceCollector:
    return EvidenceCollector(server, DriverPolls(drivers, lambda keys: None, lambda: NOON))


def test_progress_counts_as_a_change_when_step_or_activity_differ() -> None:
    state = TransientState(uid="job")
    words: list[LiveProgress | None] = [
        None,
        live(None, "Starting"),
        live(1),
        live(1),
        None,
        live(1),
        live(2),
    ]
    changed = []
    for second, word in enumerate(words):
        state.record_response("driver", word, after(second))
        changed.append((state.driver_responses["driver"].changed - NOON).total_seconds())
    assert changed == [0, 1, 2, 2, 2, 2, 6]


def test_an_answer_is_given_again_for_a_few_seconds() -> None:
    state = TransientState(uid="job")
    state.record_response("driver", live(1), NOON)
    assert state.evidence(after(2)).progress == {"driver": live(1)}
    assert state.evidence(after(4)).progress == {}
    assert state.evidence(after(4)).progress_changed == {"driver": NOON}


def test_a_driver_that_does_not_answer_is_asked_ever_more_seldom_until_it_answers() -> None:
    state, now, asked = TransientState(uid="job"), 0, list[int]()
    for now in range(200):
        if "driver" not in state.evidence(after(now)).progress:
            state.record_response("driver", None, after(now))
            asked.append(now)
    assert asked == [0, 5, 15, 35, 75, 135, 195]
    assert state.evidence(after(199)).progress_asked == {"driver": after(195)}
    state.record_response("driver", live(1), after(200))
    assert state.evidence(after(203)).progress == {}
    state.record_response("driver", None, after(203))
    assert [state.fresh("driver", after(second)) for second in (207, 208)] == [True, False]


def test_drivers_and_jobs_that_are_gone_are_forgotten() -> None:
    states = TransientStates()
    states.of(("team", "a"), "1").record_response("driver", None, NOON)
    states.of(("team", "a"), "1").forget_pods({"another"})
    assert states.of(("team", "a"), "1").driver_responses == {}
    states.of(("team", "a"), "1").status_written = NOON
    assert states.of(("team", "a"), "2").status_written is None


def test_everything_that_is_asked_for_is_told_also_where_there_is_none() -> None:
    server, drivers = ApiServer(), Drivers({"10.0.0.1": live(3)})
    metadata = {"name": "worker", "namespace": "team"}
    server.apply(PODS, {"metadata": metadata, "spec": {"containers": []}})
    server.logs["worker"] = "x" * 5000 + "the end"
    evidence_requests = [
        EvidenceRequest(kind="Progress", pod="driver", pod_uid="d", address="10.0.0.1"),
        EvidenceRequest(kind="Progress", pod="mute", pod_uid="m", address="10.0.0.2"),
        EvidenceRequest(kind="Progress", pod="unborn", pod_uid="u"),
        EvidenceRequest(kind="LogTail", pod="worker", pod_uid="w"),
        EvidenceRequest(kind="LogTail", pod="gone", pod_uid="g"),
        EvidenceRequest(kind="PodEvents", pod="worker", pod_uid="w"),
    ]
    found = asyncio.run(
        collector(server, drivers).collect(JOB, evidence_requests, TransientState(uid=UID), NOON)
    )
    assert found.progress == {"d": live(3), "m": None, "u": None}
    assert found.progress_changed == {"d": NOON, "m": NOON, "u": NOON}
    assert found.log_tails["w"].endswith("the end")
    assert len(found.log_tails["w"]) == 2048
    assert found.log_tails["g"] == ""
    assert found.pod_events == {"w": ()}
    assert drivers.asked == ["10.0.0.1", "10.0.0.2"]


def test_the_word_of_another_jobs_driver_is_none_and_no_sign_of_life() -> None:
    """Addresses of pods are used again."""
    drivers, state = Drivers({"10.0.0.1": live(3)}), TransientState(uid=UID)
    need = EvidenceRequest(kind="Progress", pod="driver", pod_uid="d", address="10.0.0.1")
    for second, step in enumerate((3, 4, 5)):
        drivers.answers["10.0.0.1"] = live(step, job_uid="another" if second else UID)
        found = asyncio.run(collector(ApiServer(), drivers).collect(JOB, [need], state, after(second)))
    assert found.progress == {"d": None}
    assert found.progress_changed == {"d": NOON}


def test_the_logs_of_an_api_server_that_is_away_are_none() -> None:
    server = ApiServer(down=True)
    need = EvidenceRequest(kind="LogTail", pod="worker", pod_uid="w")
    found = asyncio.run(
        collector(server, Drivers()).collect(JOB, [need], TransientState(uid="job"), NOON + timedelta(1))
    )
    assert found.log_tails == {"w": ""}


def test_a_log_is_asked_of_the_container_that_is_named_where_a_pod_has_several() -> None:
    server = ApiServer(logs={"pod": "the end"})
    server.apply(
        PODS, {"metadata": {"name": "pod", "namespace": "team"}, "spec": {"containers": [{"name": "driver"}]}}
    )
    server._pod_status(server.all(PODS)[0], containerStatuses=[{"name": "driver"}, {"name": "istio-proxy"}])

    def tail(container: str | None) -> str:
        need = EvidenceRequest(kind="LogTail", pod="pod", pod_uid="uid", container=container)
        gathered = collector(server, Drivers()).collect(JOB, (need,), TransientState(uid=UID), NOON)
        return asyncio.run(gathered).log_tails["uid"]

    assert (tail("driver"), tail(None)) == ("the end", "")
