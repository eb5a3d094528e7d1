"""Decide what the operator states about a receipt: only what it knows itself, and what its own pod reported.

The digest comes from the termination message of the job's driver pod, never from a status that others write.
"""

from __future__ import annotations

import re
from typing import Final

from seedbed_api.attestations.receipt_attestation import (
    MOST_IMAGES,
    RECEIPT_NAME,
    SWEEP_RECORD_NAME,
    Attestation,
    ClusterRun,
    SignedJob,
    subject,
)
from seedbed_api.conditions import CompleteReason, SignedReason
from seedbed_api.pod_contract.driver_messages import Outcome
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import ObjectStatus
from seedbed_operator.plan import PlanBuilder, SigningRequest
from seedbed_operator.planning.job_context import JobContext

_IMAGE: Final = re.compile(r"[-A-Za-z0-9._:/@]{1,512}")


def signing_request(context: JobContext, builder: PlanBuilder, outcome: Outcome | None) -> SigningRequest:
    """Return the statement about the receipt of a complete attempt, or why there is none."""
    receipt = _reported(outcome)
    if outcome is None or receipt is None or not _same_run(builder, outcome) or not _pinned_image(builder):
        message = "the driver reported no digest of a receipt, or another run than before"
        return SigningRequest(attestation=None, reason=SignedReason.NO_RECEIPT, message=message)
    if outcome.reason == CompleteReason.ALREADY_COMPUTED:
        message = "the output store held the run already; what is there says who vouches for it"
        return SigningRequest(attestation=None, reason=SignedReason.ALREADY_COMPUTED, message=message)
    return SigningRequest(
        attestation=Attestation(
            role="Operator",
            subjects=(subject(_name(context), receipt.digest),),
            predicate=_cluster_run(context, builder, outcome),
        ),
        reason=SignedReason.SIGNED,
    )


def _reported(outcome: Outcome | None) -> ObjectStatus | None:
    if outcome is None:
        return None
    return outcome.receipt or (outcome.sweep.ledger if outcome.sweep else None)


def _same_run(builder: PlanBuilder, outcome: Outcome) -> bool:
    """Return whether the driver names the run that the first attempt named."""
    return outcome.run_id is not None and outcome.run_id == builder.status.identity


def _name(context: JobContext) -> str:
    return SWEEP_RECORD_NAME if context.job.kind == "SweepJob" else RECEIPT_NAME


def _cluster_run(context: JobContext, builder: PlanBuilder, outcome: Outcome) -> ClusterRun:
    job, dataset, pinned = context.job, builder.status.dataset, _pinned_image(builder)
    assert outcome.run_id is not None
    return ClusterRun(
        run_id=outcome.run_id,
        job=SignedJob(kind=job.kind, namespace=job.namespace, name=job.name, uid=job.uid),
        attempt=context.attempt,
        images=_images(context) or (pinned,),
        pinned_image=pinned,
        dataset_digest=dataset.digest if dataset else None,
        signed_on=format_time(context.now),
    )


def _pinned_image(builder: PlanBuilder) -> str:
    environment = builder.status.environment
    return environment.image if environment and environment.image else ""


def _images(context: JobContext) -> tuple[str, ...]:
    """Return the images of the attempt's pods as the kubelets report them; a webhook may have changed one."""
    pods = (context.driver, *context.attempt_workers)
    found = sorted({pod.image_id for pod in pods if pod is not None and _IMAGE.fullmatch(pod.image_id)})
    return tuple(found[:MOST_IMAGES])
