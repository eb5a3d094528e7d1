from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from seedbed.cli import diff, verify
from seedbed_api.errors import UserError
from support.runs.small_run import a_manifest, claim_of, train_run


def said(command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_verify_says_what_was_reproduced(finished: Path) -> None:
    result = said(verify.command, finished, "--from-step", 4, "--to-step", 8)
    digest = claim_of(finished).receipt.decided.weights_digest
    assert result.output.splitlines() == [
        "stored: the receipt and 2 model files, 8 ledger steps, 3 checkpoints and 3 evaluations agree",
        "reproduced: steps 4..8, 5 steps recomputed from the checkpoint of step 3 with 1 worker, "
        f"weights {digest}",
    ]
    assert result.exit_code == 0


def test_verify_takes_the_receipt_file_and_the_run_apart(finished: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copy(finished / "receipt.json", tmp_path))
    alone = said(verify.command, copied)
    assert alone.exit_code == 0
    assert alone.output.startswith(
        "receipt: verified; there is no run folder around it, so only the receipt is compared"
    )
    for run in (finished, finished.parent.parent):
        assert "8 ledger steps" in said(verify.command, copied, "--run", run).output
    refused = said(verify.command, copied, "--run", tmp_path / "nowhere")
    assert isinstance(refused.exception, UserError)
    assert "--run: holds no run folder" in refused.exception.message


def test_verify_tells_what_is_missing(run: Path) -> None:
    (run / "model" / "config.json").unlink()
    output = said(verify.command, run, "--from-step", 6).output
    assert f"missing: model/config.json, in file://{run}\n" in output


def test_verify_as_json(finished: Path) -> None:
    result = said(verify.command, finished, "-o", "json")
    document = json.loads(result.output)
    assert (document["result"], document["stepsRecomputed"], document["leavesByWorker"]) == (
        "reproduced",
        8,
        [32],
    )


def test_verify_names_the_first_difference(run: Path) -> None:
    from support.runs.altered_ledgers import swapped_rows
    from support.runs.small_run import rewrite

    rewrite(run, 4, swapped_rows)
    result = said(verify.command, run)
    assert result.output.splitlines()[-1].startswith("differs: step 5: leaf 2 consumed other rows (row ")
    assert result.exit_code == 2
    document = json.loads(said(verify.command, run, "-o", "json").output)
    assert (document["difference"]["step"], document["difference"]["subject"]) == (5, "leaf 2")


@pytest.mark.parametrize("form", [[], ["-o", "json"]], ids=["words", "json"])
def test_a_tampered_receipt_is_refused(run: Path, form: list[str]) -> None:
    text = (run / "receipt.json").read_text().replace('"learningRate":"0.05"', '"learningRate":"0.06"')
    (run / "receipt.json").write_text(text)
    result = said(verify.command, run, *form)
    assert isinstance(result.exception, UserError)
    assert result.exception.reason == "ReceiptTampered"
    assert "externalParameters was changed" in result.exception.message
    if form:
        assert json.loads(result.output)["reason"] == "ReceiptTampered"


def test_diff_says_equal_or_all_that_differs(finished: Path, data: Path, tmp_path: Path) -> None:
    same = said(diff.command, finished, finished / "receipt.json")
    assert (same.exit_code, same.output.splitlines()[2][:6]) == (0, "equal:")
    other = train_run(a_manifest(data, tmp_path, seed=6))
    parted = said(diff.command, finished, other)
    assert parted.exit_code == 2
    assert parted.output.splitlines()[2] == "differs: recipe: training.seed: 5 in A, 6 in B"
    document = json.loads(said(diff.command, finished, other, "-o", "json").output)
    assert document["result"] == "different"
    assert document["differences"][0] == {
        "category": "recipe",
        "kind": "recipe",
        "step": None,
        "subject": "training.seed",
        "text": "training.seed: 5 in A, 6 in B",
    }
