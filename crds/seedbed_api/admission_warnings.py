"""Warnings about a valid resource, one line each; a warning never rejects it."""

from __future__ import annotations

from seedbed_api.base_model import Block
from seedbed_api.errors import refusal
from seedbed_api.execution_settings import shards_of_busiest_worker, useful_worker_count
from seedbed_api.sweepjob import SweepJob
from seedbed_api.trainingjob import TrainingJob


def admission_warnings(resource: Block) -> list[str]:
    """Return the warnings about a resource."""
    if isinstance(resource, TrainingJob):
        cluster, leaves = resource.spec.cluster, resource.spec.training.batch.leaves
        return [
            *_idle("spec.cluster.workers.min", cluster.workers.min, leaves),
            *_idle("spec.cluster.workers.max", cluster.workers.max, leaves),
        ]
    if isinstance(resource, SweepJob):
        leaves = resource.spec.trial_template.spec.training.batch.leaves
        return _idle("spec.workersPerTrial", resource.spec.workers_per_trial, leaves)
    return []


def _idle(field: str, workers: int, leaves: int) -> list[str]:
    enough = useful_worker_count(leaves, workers)
    if enough == workers:
        return []
    most = shards_of_busiest_worker(leaves, workers)
    problem = (
        f"{enough} workers are as fast, since the busiest has {most} of {leaves} logical shards either way"
    )
    return [refusal(field, workers, problem, f"use {enough}")]
