"""`seedbed driver` and `seedbed worker` as the operator starts them: the digest of `seedbed run`, whatever dies.

Each story has a fresh store and says how many steps were computed. A story that needs time takes it by a model
that dawdles while a file is there; what it computes does not depend on that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from determinism.pods import UID, AttemptPods, attempts
from seedbed.receipts import read_receipt
from seedbed.receipts.signature_store import store_envelope
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from seedbed_api import metric_names as names
from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.attestations.dsse_envelope import sign_payload
from seedbed_api.attestations.signature_policy import parse_policy
from support.runs.job_builder import Recipe, Way, a_job, digest_of, groups, manifest, prove, run
from support.signing import a_cluster_run, a_key, a_policy

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

EVERY = 5
RECIPE = Recipe(steps=40, leaves=4)
DAWDLING = """
import time
from pathlib import Path
from torch import nn
from torch.nn.functional import cross_entropy


class Dawdler:
    def build(self, args):
        self.gate = Path(args["gate"])
        return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, int(args["classes"])))

    def loss(self, model, batch):
        if self.gate.exists():
            time.sleep(0.2)
        return cross_entropy(model(batch.images_mchw), batch.labels_m)
"""


@pytest.fixture(scope="module")
def straight(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of `seedbed run` with one worker, in a store of its own."""
    ended = run(a_job(RECIPE, Way(every_steps=1000), data=digits, output=tmp_path_factory.mktemp("straight")))
    prove(ended)
    return digest_of(ended)


@pytest.fixture
def attempt() -> Iterator[Callable[..., AttemptPods]]:
    with attempts() as make:
        yield make


def the_run(output: Path) -> RunFolder:
    (found,) = (output / "runs").iterdir()
    return open_run(open_storage(str(output)), f"sha256:{found.name}")


def sizes(output: Path) -> list[int]:
    """Return the sizes of the worker groups, in order."""
    return [group[0]["workers"] for group in groups(the_run(output))]


@pytest.mark.exhaustive
def test_stopped_then_continued_then_found(attempt, digits: Path, tmp_path: Path, straight: str) -> None:
    way = Way(least=2, most=2, feed="RayData", every_steps=1000)
    first = attempt(manifest(RECIPE, way, data=digits, output=str(tmp_path)))
    driver, workers = first.driver(), [first.worker(0), first.worker(1)]
    first.wait_for(lambda told: told.progress and told.progress.step > 0, driver)
    driver.terminate()
    assert driver.ended() == 143, driver.log()
    assert [worker.ended() for worker in workers] == [0, 0], workers[0].log()
    stopped = first.outcome()
    assert (stopped.result, stopped.reason, stopped.attempt) == ("Stopped", "Stopped", 1)
    assert stopped.checkpoint is not None
    assert 0 < stopped.checkpoint.step == stopped.steps_executed < RECIPE.steps

    way = Way(most=1, feed="Local", every_steps=1000)
    again = manifest(RECIPE, way, data=digits, output=str(tmp_path))
    known = {"RUN_ID": stopped.run_id, "ENVIRONMENT_CLASS": stopped.environment_class}
    second = attempt(again, expected=known)
    driver, worker = second.driver(), second.worker(0)
    assert driver.ended() == 0, driver.log()
    assert worker.ended() == 0, worker.log()
    done = second.outcome()
    assert (done.result, done.reason) == ("Succeeded", "Trained")
    assert done.steps_executed == RECIPE.steps - stopped.steps_executed, "no step was done twice"
    assert done.model is not None
    assert done.model.weights_digest == straight
    assert sizes(tmp_path) == [2, 1]

    third = attempt(again, expected=known)
    driver = third.driver()
    assert driver.ended() == 0, driver.log()
    found = third.outcome()
    assert (found.result, found.reason, found.steps_executed) == ("Succeeded", "AlreadyComputed", 0)
    assert (found.model, found.receipt) == (done.model, done.receipt)
    logs = sorted(path.relative_to(tmp_path).parts for path in (tmp_path / "logs").rglob("*.log"))
    assert {parts[1:4] for parts in logs} == {
        (UID, "1", "digits-1-driver"),
        (UID, "1", "digits-1-worker-0"),
        (UID, "1", "digits-1-worker-1"),
        (UID, "2", "digits-2-driver"),
        (UID, "2", "digits-2-worker-0"),
        (UID, "3", "digits-3-driver"),
    }
    assert "complete already" in (tmp_path / "logs" / UID / "3/digits-3-driver/000000.log").read_text()


def test_a_group_grows_then_a_worker_is_killed_and_replaced(attempt, digits: Path, tmp_path: Path) -> None:
    gate, output = tmp_path / "gate", tmp_path / "output"
    paced = dawdling(gate, digits, tmp_path)
    alone = digest_of(run(a_job_of(paced, tmp_path / "alone")))
    gate.touch()
    pods = attempt({**paced, "spec": paced["spec"] | {"output": {"uri": str(output)}}})
    driver, worker = pods.driver(), pods.worker(0)
    pods.wait_for(lambda told: told.progress and told.progress.step > 0, driver)
    pods.worker(1)
    pods.wait_for(lambda _: sizes(output) == [1, 2], driver)
    one, two = groups(the_run(output))
    assert two[0]["resumedFrom"] == max(event["step"] for event in one), "a group grows and no step is lost"
    pods.wait_for(lambda told: told.checkpoint and told.checkpoint.step > two[0]["resumedFrom"], driver)
    pods.wait_for(lambda _: set(pods.metrics(names.MEMORY)) == {"driver", "rank-0", "rank-1"}, driver)
    pods.wait_for(lambda _: pods.metrics(names.FETCHED_BYTES).get("file", 0) > 0, driver)
    # a group that dies right after it kept its state has not told of these steps
    pods.wait_for(lambda told: told.progress.step % EVERY in (1, 2), driver)
    worker.kill()
    pods.wait_for(lambda _: len(sizes(output)) == 3, driver)
    gate.unlink()
    pods.worker(2)
    assert driver.ended() == 0, driver.log()
    outcome = pods.outcome()
    assert outcome.model is not None
    assert outcome.model.weights_digest == alone
    lost = outcome.steps_executed - STEPS
    assert 0 <= lost <= EVERY, sizes(output)
    assert sizes(output)[:3] == [1, 2, 1]
    assert "no report" not in driver.log()
    assert the_run(output).objects.exists("report.html"), (
        "the driver has trained nothing, and can run the model"
    )


STEPS = 400


def dawdling(gate: Path, data: Path, folder: Path) -> dict[str, Any]:
    """Return a job whose steps take their time while the gate is there."""
    code = folder / "code"
    code.mkdir()
    (code / "dawdler.py").write_text(DAWDLING)
    job = manifest(
        Recipe(steps=STEPS, leaves=4, leaf_rows=2),
        Way(least=1, most=2, feed="Local", every_steps=EVERY),
        data=data,
        output=str(folder / "alone"),
    )
    args = [{"name": "gate", "value": str(gate)}]
    job["spec"]["model"] = {"entrypoint": "dawdler:Dawdler", "args": args, "code": {"uri": str(code)}}
    job["spec"]["evaluation"] = {"everySteps": STEPS}
    return job


def a_job_of(document: dict[str, Any], output: Path) -> Any:
    from seedbed_api.manifest_loader import training_job

    spec = document["spec"] | {"output": {"uri": str(output)}}
    alone = {"workers": {"min": 1, "max": 1}, "feed": "Local"}
    return training_job({**document, "spec": spec | {"cluster": alone}})


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_a_run_of_another_namespace_is_reused_where_an_operator_of_the_policy_signed_it(
    attempt, digits: Path, tmp_path: Path, signed: bool
) -> None:
    store, key = tmp_path / "store", a_key()
    way = Way(feed="Local", every_steps=1000)
    theirs = run(a_job(RECIPE, way, data=digits, output=store))
    folder = the_run(store)
    receipt = read_receipt(folder.objects)
    if signed:
        statement = a_cluster_run(receipt.data, folder.run_id)
        store_envelope(folder.objects, receipt, sign_payload(statement.payload, key))
    job = manifest(RECIPE, way, data=digits, output=str(store))
    job["spec"]["output"]["trust"] = "Signed"
    pods = attempt(job)
    told = of_namespace(tmp_path / "secrets", parse_policy(a_policy(("a", key)), shown="policy"))
    driver, worker = pods.driver(**told), pods.worker(0, **told)
    assert driver.ended() == 0, driver.log()
    assert worker.ended() == 0, worker.log()
    outcome = pods.outcome()
    assert outcome.reason == ("AlreadyComputed" if signed else "Trained")
    assert outcome.model is not None
    assert outcome.model.weights_digest == digest_of(theirs)
    assert ("/owners/" in outcome.model.uri) == (not signed)
    assert ("counts as unsigned: 0 of 1 signatures" in driver.log()) == (not signed)


def of_namespace(secrets: Path, policy: SignaturePolicy) -> dict[str, str]:
    """Return the variables of pods of a namespace with a key of its own and a profile with a policy."""
    (secrets / "owner").mkdir(parents=True)
    (secrets / "owner/token").write_text("k" * 43)
    told = {"SEEDBED_OUTPUT_TRUST": "Own", "SEEDBED_SECRETS_FOLDER": str(secrets)}
    return {**told, "SEEDBED_SIGNATURE_POLICY": json.dumps({"keys": [key.plain() for key in policy.keys]})}


def test_a_stranger_is_refused_and_a_dead_driver_ends_its_workers(
    attempt, digits: Path, tmp_path: Path
) -> None:
    way = Way(least=2, most=2, feed="Local")
    pods = attempt(manifest(RECIPE, way, data=digits, output=str(tmp_path)))
    driver, worker = pods.driver(), pods.worker(0)
    stranger = pods.worker(1, RAY_AUTH_TOKEN="0" * 32)
    told = pods.wait_for(lambda told: told.workers and told.workers.ready == 1, driver)
    assert told.activity == "Starting"
    assert stranger.ended() == 75, stranger.log()
    assert "RAY_AUTH_TOKEN" in stranger.log()
    assert pods.progress() is not None
    driver.kill()
    assert worker.ended() == 75, worker.log()
    assert "lost" in worker.log()
