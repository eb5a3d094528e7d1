"""Absolute locations of what a job names: user code may change the working directory at import."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from seedbed.driver.error_policy import errors_name_field
from seedbed.storage import absolute_path, absolute_url
from seedbed_api.execution_settings import Output
from seedbed_api.pod_contract import env_vars
from seedbed_api.recipe import Dataset, Model, Recipe

if TYPE_CHECKING:
    from seedbed_api.sweepjob import SweepJob
    from seedbed_api.trainingjob import TrainingJob

_VARIABLES = (
    *("TMPDIR", "TEMP", "TMP", "RAY_TMPDIR", "PYTHONPATH", "HOME", env_vars.CLAIMS_FOLDER),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_FEDERATED_TOKEN_FILE"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""Variables that hold local paths and are read again and again, here and in the processes of workers."""

_J = TypeVar("_J", bound="TrainingJob | SweepJob")


def set_absolute_variables(environ: MutableMapping[str, str]) -> None:
    """Make the local paths of an environment absolute, for this process and those that it starts."""
    for name in _VARIABLES:
        value = environ.get(name, "")
        if value.lstrip().startswith("{"):  # credentials themselves, instead of their file
            continue
        paths = [path for path in value.split(os.pathsep) if path]
        if any(not Path(path).is_absolute() for path in paths):
            with errors_name_field(name):
                environ[name] = os.pathsep.join(str(absolute_path(Path(path))) for path in paths)


def leave_deleted_working_directory() -> None:
    """Change to a directory that exists: MKL ends a process whose working directory was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


def with_absolute_locations(job: _J) -> _J:
    """Return the job with absolute and normal local paths; UserError names the field that has none."""
    spec = job.spec
    changes: dict[str, object] = {"output": _output(spec.output)}
    if isinstance(spec, Recipe):
        changes |= _changed_recipe(spec, "spec")
    else:
        template = spec.trial_template
        recipe = template.spec.model_copy(update=_changed_recipe(template.spec, "spec.trialTemplate.spec"))
        changes["trial_template"] = template.model_copy(update={"spec": recipe})
    return job.model_copy(update={"spec": spec.model_copy(update=changes)})  # type: ignore[return-value]


def _changed_recipe(recipe: Recipe, field: str) -> dict[str, object]:
    return {"dataset": _dataset(recipe.dataset, field), "model": _model(recipe.model, field)}


def _dataset(dataset: Dataset, field: str) -> Dataset:
    return dataset.model_copy(update={"uri": _place(dataset.uri, f"{field}.dataset.uri")})


def _model(model: Model, field: str) -> Model:
    changes = {}
    for name in ("code", "weights"):
        block = getattr(model, name)
        if block is not None and block.uri is not None:
            place = _place(block.uri, f"{field}.model.{name}.uri")
            changes[name] = block.model_copy(update={"uri": place})
    return model.model_copy(update=changes)


def _output(output: Output) -> Output:
    return output.model_copy(update={"uri": _place(output.uri, "spec.output.uri")})


def _place(uri: str, field: str) -> str:
    with errors_name_field(field):
        return absolute_url(uri)
