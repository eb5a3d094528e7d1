"""Sweep identity: a digest of everything that decides about the trials, and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.run_identity import resolve
from seedbed_api.sweepjob import SweepJobSpec

SEARCH_VERSION: Final = 1
"""Increase it whenever our own proposals or verdicts change."""

_DECIDING: Final = (
    "objective",
    "algorithm",
    "crossValidation",
    "earlyStopping",
    "parameters",
    "maxTrialCount",
    "maxFailedTrialCount",
)


def sweep_document(
    spec: SweepJobSpec,
    *,
    dataset_digest: str,
    arithmetic_version: int | str,
    environment_class: str,
    code_digest: str | None = None,
    weights_digest: str | None = None,
    libraries: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the document of the identity, without parallelism, workers and locations of data.

    `libraries` are the digests of those from which trials may take networks.
    """
    plain = spec.plain()
    return {
        **{name: plain[name] for name in _DECIDING if name in plain},
        "template": resolve(
            spec.trial_template,
            dataset_digest=dataset_digest,
            code_digest=code_digest,
            weights_digest=weights_digest,
        ),
        "search": _search(spec),
        "arithmeticVersion": arithmetic_version,
        "environmentClass": environment_class,
        **({"libraries": dict(libraries)} if libraries else {}),
    }


def sweep_id(document: dict[str, Any]) -> str:
    """Return the identity of a sweep, sha256:<hex>."""
    return digest_of(canonical_json(document))


def _search(spec: SweepJobSpec) -> dict[str, Any]:
    if spec.algorithm.tpe is None:
        return {"version": SEARCH_VERSION}
    import optuna  # 0.1 s

    from seedbed.search.tpe_sampler import numeric_probe

    return {"version": SEARCH_VERSION, "optuna": optuna.__version__, "probe": numeric_probe()}
