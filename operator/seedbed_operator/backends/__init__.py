"""Backends that run Ray for a job: the desired Kubernetes objects of an attempt."""
