"""What an error of the API server says: above all, which 404 means that an object is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seedbed_operator.kube_client.http_client import status_error


def status(reason: str, message: str, **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("code", "content", "reason", "gone"),
    [
        pytest.param(
            404,
            status("NotFound", 'pods "a" not found', name="a", kind="pods"),
            "NotFound",
            True,
            id="an object",
        ),
        pytest.param(404, b"404 page not found\n", "NotServed", False, id="a path of no handler"),
        pytest.param(
            404,
            status("NotFound", "the server could not find the requested resource"),
            "NotServed",
            False,
            id="a kind",
        ),
        pytest.param(
            404,
            b'{"reason": "NotFound", "message": "x", "details": null}',
            "NotServed",
            False,
            id="no details",
        ),
        pytest.param(409, status("Conflict", "changed", name="a"), "Conflict", False, id="a conflict"),
        pytest.param(500, b"<html>", "Unknown", False, id="no JSON"),
        pytest.param(403, b'{"message": "no"}', "Unknown", False, id="no Status"),
    ],
)
def test_an_error_is_told_by_code_and_reason(code: int, content: bytes, reason: str, gone: bool) -> None:
    refused = status_error(code, content)
    assert (refused.code, refused.reason, refused.not_found) == (code, reason, gone)
    assert "\n" not in str(refused)
