"""Receipts: equal for every execution, readable as provenance, and no bit of them can change unseen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.receipts import (
    Execution,
    read_receipt,
    save_receipt,
    statement,
    to_bytes,
    verify_receipt,
)
from seedbed.receipts.receipt_statement import SEAL, chained, seal_of
from seedbed.runs import open_run
from seedbed.storage import open_storage
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import InfrastructureError, UserError
from support.runs.example_receipt import DATASET, DECIDED, EXECUTION, HEX, WEIGHTS

OTHER_EXECUTION = Execution(
    started_on="2027-01-01T00:00:00Z",
    finished_on="2027-01-01T01:00:00Z",
    version="0.2.0",
    attempts=1,
    workers=(8,),
)


def read(document: dict[str, Any]) -> Any:
    return verify_receipt(to_bytes(document), shown="receipt.json")


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_bytes(to_bytes(statement(DECIDED, EXECUTION)))
    for source in (tmp_path, tmp_path / "receipt.json", open_storage(str(tmp_path))):
        receipt = read_receipt(source)
        assert receipt.decided == DECIDED
        assert receipt.execution["attempts"] == 2


def test_execution_is_outside_of_the_deterministic_digest() -> None:
    first, second = read(statement(DECIDED, EXECUTION)), read(statement(DECIDED, OTHER_EXECUTION))
    assert first.document != second.document
    assert first.deterministic_digest == second.deterministic_digest


@pytest.mark.parametrize(
    "change",
    [
        {"subjects": {**DECIDED.subjects, "model/config.json": HEX}},
        {"leaves": 4},
        {"leaf_rows": 32},
        {"total_steps": 21},
        {"code_digest": None},
        {"ledger_chain": "0" * 64},
        {"checkpoints": ((5, WEIGHTS), (20, WEIGHTS))},
        {"metrics": {"test/accuracy": "0.99"}},
        {"weights_digest": DATASET, "checkpoints": ((20, DATASET),)},
    ],
    ids=", ".join,
)
def test_each_decided_part_is_in_the_deterministic_digest(change: dict[str, Any]) -> None:
    ours = read(statement(DECIDED, EXECUTION)).deterministic_digest
    assert read(statement(replace(DECIDED, **change), EXECUTION)).deterministic_digest != ours


def test_it_is_a_statement_with_slsa_provenance() -> None:
    document = statement(DECIDED, EXECUTION)
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    predicate = document["predicate"]
    assert set(predicate) == {"buildDefinition", "runDetails"}
    resources = [*document["subject"], *predicate["buildDefinition"]["resolvedDependencies"]]
    for resource in [*resources, *predicate["runDetails"]["byproducts"]]:
        assert set(resource) <= {"name", "digest", "annotations"}
        assert len(resource["digest"]["sha256"]) == 64
    assert predicate["runDetails"]["builder"]["id"].endswith("self-claimed/v1")


BYTES = to_bytes(statement(DECIDED, EXECUTION))


def test_every_single_bit_of_a_receipt_counts() -> None:
    for position in range(len(BYTES)):
        flipped = bytearray(BYTES)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises(UserError) as caught:
            verify_receipt(bytes(flipped), shown="receipt.json")
        assert caught.value.reason in {"InvalidReceipt", "ReceiptTampered"}
        assert "\n" not in caught.value.message


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cut_or_mixed_receipts_are_refused_in_one_line(data: st.DataObject) -> None:
    cut = BYTES[: data.draw(st.integers(0, len(BYTES) - 1))]
    tail = data.draw(st.binary(max_size=8).filter(lambda tail: not tail.startswith(BYTES[len(cut) :])))
    with pytest.raises(UserError):
        verify_receipt(cut + tail, shown="receipt.json")


def set_at(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


DEFINITION = ("predicate", "buildDefinition")
BYPRODUCTS = ("predicate", "runDetails", "byproducts")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(set_at("subject", 0, "digest", "sha256", value=HEX), "subject", id="model file"),
        pytest.param(set_at(*DEFINITION, "externalParameters", "recipe", "training", "epochs", value=3), "externalParameters", id="recipe"),
        pytest.param(set_at(*DEFINITION, "internalParameters", "leaves", value=4), "internalParameters", id="leaves"),
        pytest.param(set_at(*DEFINITION, "resolvedDependencies", 0, "digest", "sha256", value=HEX), "resolvedDependencies", id="dataset"),
        pytest.param(set_at(*BYPRODUCTS, 0, "annotations", "chain", 0, "step", value=9), "byproducts/checkpoints", id="checkpoint step"),
        pytest.param(set_at(*BYPRODUCTS, 1, "digest", "sha256", value=HEX), "byproducts/ledger", id="ledger"),
        pytest.param(set_at(*BYPRODUCTS, 2, "annotations", "test/accuracy", value="0.99"), "byproducts/metrics", id="metric"),
        pytest.param(set_at(*BYPRODUCTS, 3, "digest", "sha256", value=HEX), "byproducts/weights", id="weights"),
        pytest.param(set_at("predicate", "runDetails", "metadata", "startedOn", value="2020-01-01T00:00:00Z"), "outside", id="time"),
        pytest.param(set_at("predicate", "runDetails", "seedbed_execution", "attempts", value=1), "outside", id="attempts"),
        pytest.param(lambda d: d["predicate"]["runDetails"].update(extra=1), "outside", id="added field"),
    ],
)  # fmt: skip
def test_the_changed_part_is_named(change: Callable[[dict[str, Any]], None], named: str) -> None:
    document = copy.deepcopy(statement(DECIDED, EXECUTION))
    change(document)
    with pytest.raises(UserError) as caught:
        read(document)
    assert caught.value.reason == "ReceiptTampered"
    assert named in caught.value.message


def resealed(document: dict[str, Any]) -> dict[str, Any]:
    byproducts = document["predicate"]["runDetails"]["byproducts"]
    document["predicate"]["runDetails"]["byproducts"] = [
        *(b for b in byproducts if b["name"] != SEAL), seal_of(document)
    ]  # fmt: skip
    return document


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(set_at(*DEFINITION, "externalParameters", "recipe", "training", "epochs", value=3), "runID", id="recipe of another run"),
        pytest.param(set_at(*DEFINITION, "internalParameters", "environmentClass", value=DATASET), "runID", id="another environment class"),
        pytest.param(set_at(*DEFINITION, "resolvedDependencies", 0, "digest", "sha256", value=HEX), "dataset", id="another dataset"),
        pytest.param(set_at(*BYPRODUCTS, 0, "annotations", "chain", 0, "weightsDigest", value=DATASET), "checkpoints[0] (step 10)", id="a checkpoint in the middle"),
        pytest.param(set_at(*BYPRODUCTS, 3, "digest", "sha256", value=HEX), "weights", id="weights that no checkpoint led to"),
    ],
)  # fmt: skip
def test_a_forger_who_seals_again_must_fit_all_parts(
    change: Callable[[dict[str, Any]], None], named: str
) -> None:
    document = copy.deepcopy(statement(DECIDED, EXECUTION))
    change(document)
    with pytest.raises(UserError) as caught:
        read(resealed(document))
    assert named in caught.value.message


def test_resealing_an_honest_statement_changes_nothing() -> None:
    document = statement(DECIDED, EXECUTION)
    assert to_bytes(resealed(copy.deepcopy(document))) == to_bytes(document)


def test_selected_weights_are_those_of_some_checkpoint() -> None:
    best = DECIDED.checkpoints[0][1]
    assert read(statement(replace(DECIDED, weights_digest=best), EXECUTION)).decided.weights_digest == best
    with pytest.raises(UserError, match="byproducts/weights"):
        read(statement(replace(DECIDED, weights_digest=DATASET), EXECUTION))


def test_links_depend_on_all_before() -> None:
    chain = chained(DECIDED.checkpoints)
    content = {"previous": chain[0]["link"], "step": 20, "weightsDigest": WEIGHTS}
    assert chain[1]["link"] == digest_of(canonical_json(content))


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"7", json.dumps({"_type": "x"}).encode()], ids=repr
)
def test_what_is_no_receipt_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_receipt(tmp_path / "r.json")
    assert caught.value.reason == "InvalidReceipt"


def test_missing_receipt_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no receipt"):
        read_receipt(tmp_path / "nothing.json")


def test_first_receipt_stays_and_another_outcome_is_a_conflict(tmp_path: Path) -> None:
    folder = open_run(open_storage(str(tmp_path)), DECIDED.run_id)
    first = save_receipt(folder, statement(DECIDED, EXECUTION))
    again = save_receipt(folder, statement(DECIDED, OTHER_EXECUTION))
    assert again.document == first.document
    with pytest.raises(InfrastructureError) as caught:
        save_receipt(folder, statement(replace(DECIDED, ledger_chain="0" * 64), EXECUTION))
    assert caught.value.reason == "RunFolderConflict"
    folder.objects.put("receipt.json", BYTES[:-9])
    assert save_receipt(folder, statement(DECIDED, EXECUTION)).decided == DECIDED, (
        "a torn receipt is restored"
    )
