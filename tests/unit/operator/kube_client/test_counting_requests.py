"""Requests are counted by resource: the names of objects and namespaces are no labels of a metric."""

from __future__ import annotations

import pytest

from seedbed_operator.kube_client.http_client import resource_of_path

PATHS = {
    "/api/v1/namespaces/a/pods": "pods",
    "/api/v1/pods?limit=200&continue=namespaces/x": "pods",
    "/api/v1/namespaces/a/pods/digits-1-driver": "pods",
    "/api/v1/namespaces/a/pods/digits-1-driver/log?tailLines=60": "pods/log",
    "/apis/seedbed.dev/v1alpha1/namespaces/namespaces/trainingjobs/digits/status": "trainingjobs/status",
    "/apis/seedbed.dev/v1alpha1/trainingprofiles": "trainingprofiles",
    "/apis/events.k8s.io/v1/namespaces/a/events": "events",
    "/apis/coordination.k8s.io/v1/namespaces/a/leases/seedbed-operator": "leases",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "selfsubjectaccessreviews",
    "/openapi/v3/apis/seedbed.dev/v1alpha1": "openapi",
}


@pytest.mark.parametrize(("path", "counted"), PATHS.items(), ids=PATHS)
def test_a_path_counts_for_its_resource(path: str, counted: str) -> None:
    assert resource_of_path(path) == counted
