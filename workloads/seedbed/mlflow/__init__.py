"""Runs and sweeps recorded on an MLflow server, where one is configured; no training waits for it.

MLflow is imported in a process of its own (`python -m seedbed.mlflow`): its threads and settings stay out of
the training process, and a client that hangs can be abandoned (ADR 15).
"""
