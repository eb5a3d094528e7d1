"""The table of cases, as the models judge it."""

from __future__ import annotations

import pytest

from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import validate_document
from support.manifests.base_manifests import Case
from support.manifests.validation_cases import CASES

VALID = {name: case for name, case in CASES.items() if case.line is None}
INVALID = {name: case for name, case in CASES.items() if case.line is not None}


@pytest.mark.parametrize("case", VALID.values(), ids=VALID)
def test_a_valid_manifest_is_accepted(case: Case) -> None:
    assert validate_document(case.manifest()).model_dump()["kind"] == case.kind


@pytest.mark.parametrize("case", INVALID.values(), ids=INVALID)
def test_a_mistake_is_one_line_with_field_value_and_fix(case: Case) -> None:
    assert case.line is not None
    with pytest.raises(UserError) as caught:
        validate_document(case.manifest())
    (line,) = caught.value.message.splitlines()
    assert line.startswith(case.line)
    assert " (got " in line
    assert "; " in line
