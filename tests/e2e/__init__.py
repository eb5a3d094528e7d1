"""Whole runs on real pods: kubelets, containerd, the operator, Ray, an S3 server."""
