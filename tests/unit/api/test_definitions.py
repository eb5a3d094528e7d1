"""The generated CustomResourceDefinitions: up to date, structural, documented, and of one mind with the models."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from seedbed_api.api_reference import reference
from seedbed_api.crd_generator import definitions, rendered
from seedbed_api.errors import UserError
from seedbed_api.field_lookup import every_path
from seedbed_api.manifest_loader import model_of, validate_document
from seedbed_api.sweepjob import FIELD_PATHS
from seedbed_api.trainingjob import TrainingJobSpec
from support.manifests.base_manifests import Case
from support.manifests.full_statuses import a_full_status
from support.manifests.structural_schema import careless_reads, complaints, nodes
from support.manifests.validation_cases import CASES

DEFINITIONS = definitions()
SCHEMAS: dict[str, dict[str, Any]] = {
    definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for definition in DEFINITIONS.values()
}


def told(kind: str) -> list[str]:
    return list(complaints(SCHEMAS[kind]))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_committed_file_is_what_the_models_generate(name: str) -> None:
    committed = Path("crds", name).read_text(encoding="utf-8")
    assert committed == rendered(DEFINITIONS[name]), "run `make generate`"


def test_the_committed_reference_is_the_generated_one() -> None:
    committed = Path("docs/api.md").read_text(encoding="utf-8")
    assert committed == reference(), "run `make generate`"


def test_the_reference_has_every_field_with_its_meaning() -> None:
    page = reference()
    for path, field in every_path(TrainingJobSpec):
        assert f"| `{path.replace('[]', '')}` |" in page.replace("[]", ""), path
        assert " ".join((field.description or "").split())[:40].split("|")[0].replace("<", "&lt;") in page, (
            path
        )


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schema_is_structural_and_bounded(kind: str) -> None:
    assert told(kind) == []


SPOILT = {
    "a string without bound": ("spec.dataset.uri", "maxLength", None, "is a string without maxLength"),
    "a list without bound": ("spec.model.args", "maxItems", None, "is a list without maxItems"),
    "no type": ("spec.training", "type", None, "has no type"),
    "a reference": ("spec.training", "$ref", "#/x", "has $ref"),
    "an alternative": ("spec.training.seed", "anyOf", [], "has anyOf"),
    "an integer without bound": ("spec.training.seed", "maximum", None, "is an integer without"),
    "a list of no type": ("spec.model.args", "x-kubernetes-list-type", None, "has no list type"),
    "a key that may be missing": ("spec.model.args.[]", "required", None, "has a key that may be missing"),
    "a rule about nothing": (
        "spec.training",
        "x-kubernetes-validations",
        [{"rule": "true", "message": "m", "fieldPath": ".novelty"}],
        "which is no field",
    ),
    "a need with a default": ("spec.training", "required", ["seed"], "is needed and has a default"),
}


@pytest.mark.parametrize(("path", "key", "value", "complaint"), SPOILT.values(), ids=SPOILT)
def test_the_checker_sees_a_spoilt_schema(path: str, key: str, value: object, complaint: str) -> None:
    schema = copy.deepcopy(SCHEMAS["TrainingJob"])
    place = schema
    for name in path.split("."):
        place = place["items"] if name == "[]" else place["properties"][name]
    if value is None:
        del place[key]
    else:
        place[key] = value
    assert any(complaint in line for line in complaints(schema))


@pytest.mark.parametrize("kind", SCHEMAS)
def test_nothing_is_written_that_the_api_server_would_drop(kind: str) -> None:
    """Whoever applies the same file server-side after Helm would be told of a conflict, and Argo CD of a drift."""
    lists = ("allOf", "enum", "required", "x-kubernetes-list-map-keys", "x-kubernetes-validations")
    assert not [(place, key) for place, node in nodes(SCHEMAS[kind]) for key in lists if node.get(key) == []]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_rules_read_only_what_is_always_there_or_asked_for(kind: str) -> None:
    assert list(careless_reads(SCHEMAS[kind])) == []


def test_the_checker_sees_a_rule_that_reads_what_may_be_absent() -> None:
    schema = copy.deepcopy(SCHEMAS["TrainingJob"])
    del schema["properties"]["spec"]["properties"]["model"]["properties"]["args"]["default"]
    reads = {line.rsplit(" ", 1)[-1] for line in careless_reads(schema)}
    assert reads == {"self.model.args", "oldSelf.model.args"}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_has_a_description_that_is_a_sentence(kind: str) -> None:
    fields = [(path, node) for path, node in nodes(SCHEMAS[kind]) if path.startswith((".spec", ".status"))]
    named = [(path, node) for path, node in fields if not path.endswith(("[]", "{}"))]
    assert len(named) > 20
    assert [path for path, node in named if not re.match(r"[A-Za-z].*\.$", node.get("description", ""))] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_defaults_of_the_schema_are_valid_in_it(kind: str) -> None:
    for path, node in nodes(SCHEMAS[kind]):
        if "default" in node:
            assert not list(Draft202012Validator(node).iter_errors(node["default"])), path


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_schema_and_models_are_of_one_mind(name: str, case: Case) -> None:
    """What the table leaves to CEL passes the schema; all else that the models refuse, the schema refuses too."""
    refused = bool(list(Draft202012Validator(SCHEMAS[case.kind]).iter_errors(case.manifest())))
    by_schema_alone = case.line is not None and case.server is None and not case.server_accepts
    by_schema_too = case.server in ("Required value", "Unsupported value")
    assert refused == (by_schema_alone or by_schema_too)


MESSAGES = {
    rule["message"]
    for schema in SCHEMAS.values()
    for _, node in nodes(schema)
    for rule in node.get("x-kubernetes-validations", ())
}
FROM_THE_SERVER = ("Required value", "Unsupported value", "Duplicate value", "unknown field")


@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.server and not case.server.startswith(FROM_THE_SERVER)],
    ids=str,
)
def test_a_message_that_the_table_expects_of_the_server_is_in_a_definition(case: Case) -> None:
    assert case.server is not None
    assert any(message.startswith(case.server) for message in MESSAGES)


def test_every_rule_of_the_models_has_a_case() -> None:
    expected = [case.server for case in CASES.values() if case.server]
    untested = {message for message in MESSAGES if not any(message.startswith(server) for server in expected)}
    ranges = {
        message for message in untested if message.startswith(("must be at least", "must be more than"))
    }
    changes = {message for message in untested if "suspended" in message or "immutable" in message}
    members = {
        message for message in untested if message.startswith(("is only allowed with", "is needed with"))
    }
    assert untested == ranges | changes | members


def test_a_full_status_is_accepted_by_the_schema() -> None:
    status = SCHEMAS["TrainingJob"]["properties"]["status"]
    full = a_full_status().plain()
    assert set(full) == set(status["properties"])
    assert not list(Draft202012Validator(status).iter_errors(full))
    assert list(Draft202012Validator(status).iter_errors({**full, "runID": "abc"}))


def test_field_paths_are_those_that_are_marked() -> None:
    listed = SCHEMAS["SweepJob"]["properties"]["spec"]["properties"]["parameters"]["items"]
    assert listed["properties"]["fieldPath"]["enum"] == list(FIELD_PATHS)
    assert "spec.training.optimizer.learningRate" in FIELD_PATHS
    assert "spec.dataset.uri" not in FIELD_PATHS
    assert not [path for path in FIELD_PATHS if "[]" in path]


def test_names_columns_and_subresource() -> None:
    spec = DEFINITIONS["trainingjobs.yaml"]["spec"]
    (version,) = spec["versions"]
    assert spec["names"]["shortNames"] == ["tjob"]
    assert spec["names"]["categories"] == ["all", "seedbed"]
    assert DEFINITIONS["trainingprofiles.yaml"]["spec"]["names"]["categories"] == ["seedbed"], (
        "no user owns it"
    )
    assert version["subresources"] == {"status": {}}
    plain = [column["name"] for column in version["additionalPrinterColumns"] if "priority" not in column]
    wide = [column["name"] for column in version["additionalPrinterColumns"] if column.get("priority") == 1]
    assert plain == ["STATUS", "PROGRESS", "WORKERS", "AGE"]
    assert wide == ["STARTED", "DURATION", "PROFILE", "ATTEMPTS", "DIGEST", "MESSAGE"]
    assert DEFINITIONS["trainingprofiles.yaml"]["spec"]["scope"] == "Cluster"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_what_the_server_fills_in_is_what_the_models_fill_in(kind: str) -> None:
    document = Case(kind=kind).manifest()
    filled = fill(copy.deepcopy(document), SCHEMAS[kind])
    unseen = filled.pop("status", None)
    assert unseen == (None if kind == "TrainingProfile" else {"observedGeneration": -1}), (
        "kstatus: in progress"
    )
    assert validate_document(filled) == validate_document(document)
    assert model_of(kind).model_validate(filled) == validate_document(document)


def fill(document: Any, schema: dict[str, Any]) -> Any:
    """Fill in the defaults of a schema, as the API server does."""
    if isinstance(document, list):
        return [fill(entry, schema["items"]) for entry in document]
    for name, node in schema.get("properties", {}).items() if isinstance(document, dict) else ():
        if "default" in node:
            document.setdefault(name, copy.deepcopy(node["default"]))
        if name in document and name != "status":
            document[name] = fill(document[name], node)
    return document


@pytest.mark.parametrize("kind", SCHEMAS)
def test_no_entry_of_a_list_gets_defaults_from_the_api_server(kind: str) -> None:
    """Lists are compared as a whole by whoever applies them again: a default within one would differ for ever."""
    assert [path for path, node in nodes(SCHEMAS[kind]) if "[]" in path and "default" in node] == []


def test_defaults_of_entries_are_the_reader_s() -> None:
    change = {"spec.training.augmentation": [{"type": "RandomResizedCrop", "randomResizedCrop": {"size": 8}}]}
    job = validate_document(Case(change=change).manifest())
    crop = job.plain()["spec"]["training"]["augmentation"][0]["randomResizedCrop"]
    assert crop == {
        "size": 8,
        "scaleMin": "0.08",
        "scaleMax": "1",
        "ratioMin": "0.75",
        "ratioMax": "1.3333333333",
    }
    schema = dict(nodes(SCHEMAS["TrainingJob"]))[".spec.training.augmentation[].randomResizedCrop.scaleMin"]
    assert schema["description"].endswith("Default: 0.08.")


@pytest.mark.parametrize("name", ["trainingjobs.yaml", "sweepjobs.yaml"])
def test_columns_show_workers_of_those_wanted_and_units(name: str) -> None:
    (version,) = DEFINITIONS[name]["spec"]["versions"]
    shown = {column["name"]: column for column in version["additionalPrinterColumns"]}
    assert (shown["WORKERS"]["type"], shown["WORKERS"]["jsonPath"]) == ("string", ".status.workers.shown")
    assert (shown["STARTED"]["type"], shown["STARTED"]["jsonPath"]) == ("date", ".status.startTime")
    status = a_full_status()
    assert status.workers is not None
    assert status.progress is not None
    assert (status.workers.shown, status.progress.shown) == ("2/2", "50%")
    again = type(status).model_validate(status.plain())
    assert again == status


QUANTITIES = {
    "cpu": {
        **{
            4: "4",
            "4": "4",
            "1.5": "1.5",
            "100m": "100m",
            "1e3": "1e3",
            "+2": "+2",
            ".5": ".5",
            "1.": "1.",
            "2k": "2k",
        },
        **dict.fromkeys((0, -1, 1.5, True, "0", "0.0", "-1", "m", "1 ", "1x", "", "1e", "1mm", "four"), None),
    },
    "memory": {
        **{
            1024: "1024",
            "1Ki": "1Ki",
            "1e9": "1e9",
            "1E": "1E",
            "0.5Gi": "0.5Gi",
            "2Ei": "2Ei",
            "12E6": "12E6",
        },
        **dict.fromkeys((0, "0Gi", "1gi", "1GB", "1KiB", "500m", 1.5, False, "-1Gi"), None),
    },
}


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [(field, *pair) for field, values in QUANTITIES.items() for pair in values.items()],
)
def test_quantities_are_those_of_pods(field: str, value: object, read: str | None) -> None:
    manifest = Case(kind="TrainingProfile", change={f"spec.worker.resources.{field}": value}).manifest()
    by_schema = list(Draft202012Validator(SCHEMAS["TrainingProfile"]).iter_errors(manifest)) == []
    either = isinstance(value, int | str) and not isinstance(value, bool)  # of which jsonschema knows nothing
    assert (by_schema and either) is (read is not None)
    if read is None:
        with pytest.raises(UserError, match=f"spec.worker.resources.{field}: must be"):
            validate_document(manifest)
        return
    profile = validate_document(manifest).plain()
    assert profile["spec"]["worker"]["resources"][field] == read
