"""Telling an MLflow server of runs, where one is named: a mirror of run folders that no training waits for.

MLflow is imported in a process of its own (`python -m seedbed.mlflow`), so that nothing of it, its
threads or its settings is where a model trains, and so that it can be left behind when it hangs (ADR 15).
"""
