"""verify and diff over worker counts: real processes recompute what any number of workers trained."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.replay.receipt_location import locate_receipt
from seedbed.replay.run_comparison import compare_runs
from seedbed.replay.run_record import open_run_record
from seedbed.replay.verification import VerificationObserver, VerificationResult, Window, verify
from seedbed.replay.worker_config_from_receipt import DataSources
from seedbed.storage import open_storage
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, UserError
from support.gloo.worker_group import worker_group
from support.runs.small_run import a_dataset, a_manifest, as_worker, claim_of, objects_of, train_run
from testbed.gateway import Gateway


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_dataset(tmp_path_factory.mktemp("replay") / "data")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[int, Path]:
    """Return a run by 1 and one by 3 workers, in stores of their own, with other cadences."""
    alone = a_manifest(data, tmp_path_factory.mktemp("alone"), modelSelection="Best")
    shared = a_manifest(data, tmp_path_factory.mktemp("shared"), modelSelection="Best")
    shared["spec"]["checkpoint"] = {"everySteps": 2, "keep": 3}
    with worker_group(3) as group:

        def together(program: WorkerConfig) -> None:
            group.run(as_worker, program)

        return {1: train_run(alone), 3: train_run(shared, together)}


def verdict_of(run: Path, workers: int, first: int = 0, last: int = 8, **options: str) -> VerificationResult:
    sources = DataSources(workers=workers, **options)
    return verify(claim_of(run), Window(first=first, last=last), sources, VerificationObserver())


@pytest.mark.parametrize(
    ("trained_by", "workers", "first", "last"),
    [
        pytest.param(1, 2, 0, 8, id="one trained, two recompute"),
        pytest.param(1, 3, 4, 8, id="one trained, three recompute a window"),
        pytest.param(3, 1, 0, 8, id="three trained, one recomputes"),
        pytest.param(3, 2, 5, 7, id="three trained, two recompute a window"),
    ],
)
def test_any_number_of_workers_reproduces_what_any_number_trained(
    runs: dict[int, Path], trained_by: int, workers: int, first: int, last: int
) -> None:
    run = runs[trained_by]
    before = objects_of(run)
    verdict = verdict_of(run, workers, first, last)
    assert verdict.result == "reproduced", verdict.difference
    assert len(verdict.leaves) == workers
    assert sum(verdict.leaves) == verdict.steps * 4, "all leaves of all steps, each once"
    assert min(verdict.leaves) > 0, "every worker took its part"
    assert objects_of(run) == before


def test_runs_of_other_worker_counts_and_cadence_are_equal(runs: dict[int, Path]) -> None:
    comparison = compare_runs(open_run_record(str(runs[1])), open_run_record(str(runs[3])))
    assert comparison.equal, comparison.document()["differences"]
    assert objects_of(runs[1]).keys() != objects_of(runs[3]).keys()


def test_a_forged_witness_is_named_by_two_workers_too(runs: dict[int, Path], tmp_path: Path) -> None:
    from support.runs.altered_ledgers import other_witness
    from support.runs.small_run import rewrite

    run = Path(shutil.copytree(runs[1], tmp_path / runs[1].name))
    rewrite(run, 5, other_witness)
    difference = verdict_of(run, 2).difference
    assert difference is not None
    assert (difference.step, difference.subject) == (6, "norm2.weight")


def test_the_failure_of_one_worker_is_told_once(runs: dict[int, Path], data: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    shard = copied / "shards" / "000000.arrow"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(UserError, match=r"000000\.arrow"):
        verdict_of(runs[1], 2, dataset=str(copied))


def test_a_worker_that_dies_ends_the_replay(data: Path, tmp_path: Path) -> None:
    manifest = a_manifest(data, tmp_path, steps=400)  # long enough for the kill to come before the end
    manifest["spec"] |= {"checkpoint": {"everySteps": 100}, "evaluation": {"everySteps": 100}}
    run = train_run(manifest)

    def kill_one(completed: int) -> None:
        if completed == 1:
            multiprocessing.active_children()[-1].kill()

    with pytest.raises(InfrastructureError) as caught:
        verify(claim_of(run), Window(), DataSources(workers=2), VerificationObserver(step=kill_one))
    assert caught.value.reason == "WorkersLost"
    assert not multiprocessing.active_children()


@pytest.mark.s3
def test_a_run_in_a_bucket_is_verified_and_compared(
    s3: Gateway, runs: dict[int, Path], tmp_path: Path
) -> None:
    secret = s3.secret(tmp_path / "secret")
    url = f"{s3.bucket()}/runs/{runs[1].name}"
    bucket = open_storage(url, secret=secret)
    for path, content in objects_of(runs[1]).items():
        bucket.put(path, content)
    claim = locate_receipt(f"{url}/receipt.json", secret=secret)
    assert claim.folder is not None
    verdict = verify(claim, Window(first=4), DataSources(workers=2), VerificationObserver())
    assert (verdict.result, verdict.started, verdict.missing) == ("reproduced", 4, ())
    assert sorted(bucket.list()) == sorted(objects_of(runs[1]))
    assert compare_runs(open_run_record(url, secret=secret), open_run_record(str(runs[3]))).equal
    (blob,) = bucket.list("blobs")[:1]
    bucket.put(blob, bucket.read(blob)[:-1] + b"x")
    with pytest.raises(UserError, match=blob):
        verify(claim, Window(first=4), DataSources(), VerificationObserver())


def seedbed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from seedbed.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_the_command_line_says_it_in_one_line_and_exits_with_2(runs: dict[int, Path], tmp_path: Path) -> None:
    fine = seedbed("verify", str(runs[3]), "--from-step", "6")
    assert fine.returncode == 0, fine.stderr
    assert fine.stdout.splitlines()[-1].startswith(
        "reproduced: steps 6..8, 2 steps recomputed from the checkpoint"
    )
    run = Path(shutil.copytree(runs[1], tmp_path / runs[1].name))
    for path in ("receipt.json", *(str(p.relative_to(run)) for p in sorted(run.glob("blobs/*"))[:1])):
        content = (run / path).read_bytes()
        (run / path).write_bytes(content[:-20])
        told = seedbed("verify", str(run))
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr.startswith("error: ")
        assert told.stderr.count("\n") == 1
        (run / path).write_bytes(content)
