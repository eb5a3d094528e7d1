"""Which server is told of runs: by environment or Secret, with whose credentials, and without showing them."""

from __future__ import annotations

import pytest

from seedbed.mlflow.mlflow_settings import DEFAULTS, MlflowSettings, mlflow_settings

URI, TOKEN, USER = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME"
PASSWORD, EXPERIMENT = "MLFLOW_TRACKING_PASSWORD", "MLFLOW_EXPERIMENT_NAME"
Values = dict[str, str]


@pytest.mark.parametrize(
    ("environ", "secret", "expected"),
    [
        pytest.param({}, {}, None, id="nobody names a server"),
        pytest.param({URI: ""}, {}, None, id="an empty variable names none"),
        pytest.param({TOKEN: "t"}, {EXPERIMENT: "e"}, None, id="credentials alone are no server"),
        pytest.param({URI: "http://a"}, {}, {URI: "http://a"}, id="the environment"),
        pytest.param({}, {URI: "http://b", TOKEN: "t"}, {URI: "http://b", TOKEN: "t"}, id="the Secret"),
        pytest.param(
            {URI: "http://a"},
            {TOKEN: "t", USER: ""},
            {URI: "http://a", TOKEN: "t"},
            id="the admin's server, the user's token",
        ),
        pytest.param(
            {URI: "http://a", TOKEN: "admin", EXPERIMENT: "all"},
            {URI: "http://b", USER: "u", PASSWORD: "p"},
            {URI: "http://b", USER: "u", PASSWORD: "p"},
            id="the user's server never gets the admin's token",
        ),
    ],
)
def test_server_and_credentials_come_from_one_place(
    environ: Values, secret: Values, expected: Values | None
) -> None:
    found = mlflow_settings({"PATH": "/bin"} | environ, {"AWS_ACCESS_KEY_ID": "k"} | secret)
    assert (found and dict(found.environ)) == (expected and DEFAULTS | {"PATH": "/bin"} | expected)


def test_what_the_user_set_about_time_outs_stays() -> None:
    found = mlflow_settings({URI: "http://a", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}, {})
    assert found is not None
    assert found.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"
    assert found.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_no_credential_is_shown() -> None:
    uri = "https://user:s3cret@host:5000/base?token=abc"
    found = mlflow_settings({}, {URI: uri, TOKEN: "t0ken", PASSWORD: "passw0rd"})
    assert isinstance(found, MlflowSettings)
    assert found.shown == "https://host:5000/base"
    said = found.plain(f"401 for {uri}:\n t0ken and passw0rd, also user:s3cret, are wrong")
    assert said == "401 for https://host:5000/base: *** and ***, also ***, are wrong"
    assert "s3cret" not in repr(found)
