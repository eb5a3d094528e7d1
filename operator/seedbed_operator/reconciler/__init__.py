"""Workqueue and reconciler of jobs: one reconcile at a time for each job."""
