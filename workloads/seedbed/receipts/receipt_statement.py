"""Receipts as in-toto Statements with an SLSA Provenance v1 predicate: a pure function of frozen inputs.

The part that depends on the run identity alone has its own digest, without times, attempts, workers, images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from seedbed_api.canonical_json import canonical_json, digest_of

Statement: TypeAlias = dict[str, Any]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://seedbed.dev/training/v1"
BUILDER_ID = "https://seedbed.dev/builders/self-claimed/v1"
"""Self-claimed: user code runs in the process of the trainer, so a signature would prove nothing more."""

CHAIN_START = digest_of(b"")
DECIDED_DEPENDENCIES = ("dataset", "code", "weights")
DECIDED_BYPRODUCTS = ("checkpoints", "ledger", "metrics", "weights")
SEAL = "seal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """Values that depend on the run identity alone, equal for every W. Digests are `sha256:<hex>`."""

    run_id: str
    recipe: Mapping[str, Any]
    """The canonical resolved recipe."""
    leaves: int
    leaf_rows: int
    arithmetic_version: int
    environment_class: str
    dataset_digest: str
    code_digest: str | None = None
    first_weights_digest: str | None = None
    """Digest of the weights that the model started from; None for random ones."""
    subjects: Mapping[str, str]
    """Path in the run folder -> hex sha256 of the file."""
    total_steps: int
    ledger_chain: str
    """Hex chain value after the last step."""
    weights_digest: str
    checkpoints: Sequence[tuple[int, str]]
    """(completed steps, weights digest) at each evaluation of the recipe and at the end."""
    metrics: Mapping[str, str | int]
    """Fractions as decimal strings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """Facts of this execution that change no bit of the model: times, attempts, workers."""

    started_on: str
    """RFC 3339."""
    finished_on: str
    version: str
    attempts: int
    workers: Sequence[int]
    """Workers of each attempt."""
    dataset_uri: str = ""
    """As printed: without credentials."""
    weights_uri: str | None = None
    """Likewise, of the weights that the model started from."""
    weights_run: str | None = None
    """Run of the output store whose model these are."""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    """`lock`, `image`, `parent` -> `sha256:<hex>`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further JSON without floats: node kinds, time-outs, feed."""


def statement(decided: Decided, execution: Execution) -> Statement:
    """Return the sealed Statement of a finished run."""
    unsealed = {
        "_type": STATEMENT_TYPE,
        "subject": [_resource(path, digest=decided.subjects[path]) for path in sorted(decided.subjects)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": _build_definition(decided, execution),
            "runDetails": _run_details(decided, execution),
        },
    }
    byproducts = unsealed["predicate"]["runDetails"]["byproducts"]  # type: ignore[index]
    return _with_byproducts(unsealed, [*byproducts, seal_of(unsealed)])


def deterministic_sections(document: Statement) -> dict[str, Any]:
    """Return the parts of a Statement that depend on the run identity alone, by their name in errors."""
    definition = document["predicate"]["buildDefinition"]
    dependencies = definition["resolvedDependencies"]
    byproducts = document["predicate"]["runDetails"]["byproducts"]
    return {
        "subject": document["subject"],
        "buildType": definition["buildType"],
        "externalParameters": definition["externalParameters"],
        "internalParameters": definition["internalParameters"],
        "resolvedDependencies": [d for d in dependencies if d["name"] in DECIDED_DEPENDENCIES],
        **{f"byproducts/{b['name']}": b for b in byproducts if b["name"] in DECIDED_BYPRODUCTS},
    }


def section_digests(document: Statement) -> dict[str, str]:
    """Return the digest of each deterministic section."""
    return {name: digest_of(canonical_json(part)) for name, part in deterministic_sections(document).items()}


def deterministic_digest(sections: Mapping[str, str]) -> str:
    """Return the digest over the digests of the sections."""
    return digest_of(canonical_json(dict(sections)))


def seal_of(document: Statement) -> dict[str, Any]:
    """Return the byproduct that seals a Statement; a seal that it has already is ignored."""
    byproducts = document["predicate"]["runDetails"]["byproducts"]
    bare = _with_byproducts(document, [b for b in byproducts if b["name"] != SEAL])
    sections = section_digests(bare)
    return {
        **_resource(SEAL, digest=digest_of(canonical_json(bare))),
        "annotations": {"deterministicDigest": deterministic_digest(sections), "sections": sections},
    }


def chained(checkpoints: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    """Return the checkpoints with links: each is the digest of the previous link, step and weights."""
    link, entries = CHAIN_START, []
    for step, weights in checkpoints:
        link = digest_of(canonical_json({"previous": link, "step": step, "weightsDigest": weights}))
        entries.append({"step": step, "weightsDigest": weights, "link": link})
    return entries


def _build_definition(decided: Decided, execution: Execution) -> dict[str, Any]:
    dependencies = [_resource("dataset", digest=decided.dataset_digest)]
    if decided.code_digest is not None:
        dependencies.append(_resource("code", digest=decided.code_digest))
    if decided.first_weights_digest is not None:
        dependencies.append(_resource("weights", digest=decided.first_weights_digest))
    others = sorted(execution.dependencies.items())
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {"recipe": dict(decided.recipe), "runID": decided.run_id},
        "internalParameters": {
            "arithmeticVersion": decided.arithmetic_version,
            "environmentClass": decided.environment_class,
            "leaves": decided.leaves,
            "leafRows": decided.leaf_rows,
            "totalSteps": decided.total_steps,
        },
        "resolvedDependencies": [*dependencies, *(_resource(name, digest=digest) for name, digest in others)],
    }


def _run_details(decided: Decided, execution: Execution) -> dict[str, Any]:
    return {
        "builder": {"id": BUILDER_ID, "version": {"seedbed": execution.version}},
        "metadata": {
            "invocationId": decided.run_id,
            "startedOn": execution.started_on,
            "finishedOn": execution.finished_on,
        },
        "byproducts": _byproducts(decided),
        "seedbed_execution": {
            "attempts": execution.attempts,
            "workers": list(execution.workers),
            "datasetURI": execution.dataset_uri,
            **_first_weights(execution),
            "details": dict(execution.details),
        },
    }


def _first_weights(execution: Execution) -> dict[str, str]:
    named = {"weightsURI": execution.weights_uri, "weightsRun": execution.weights_run}
    return {name: value for name, value in named.items() if value is not None}


def _byproducts(decided: Decided) -> list[dict[str, Any]]:
    entries = chained(decided.checkpoints)
    metrics = dict(decided.metrics)
    last = entries[-1]["link"] if entries else CHAIN_START
    return [
        {**_resource("checkpoints", digest=last), "annotations": {"chain": entries}},
        _resource("ledger", digest=decided.ledger_chain),
        {**_resource("metrics", digest=digest_of(canonical_json(metrics))), "annotations": metrics},
        _resource("weights", digest=decided.weights_digest),
    ]


def _resource(name: str, *, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}


def _with_byproducts(document: Statement, byproducts: list[dict[str, Any]]) -> Statement:
    predicate = document["predicate"]
    details = {**predicate["runDetails"], "byproducts": byproducts}
    return {**document, "predicate": {**predicate, "runDetails": details}}
