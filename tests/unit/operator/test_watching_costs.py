"""kopf keeps nothing of an object from one event to the next: copies of it were most of what an event cost."""

from __future__ import annotations

import copy

import kopf
import pytest

from seedbed_operator.watch import kopf_settings

BODY = kopf.Body({"metadata": {"name": "pod", "labels": {"a": "b"}}, "spec": {"nodeName": "n"}, "status": {}})


def test_an_event_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thing: object) -> object:
        raise AssertionError(f"copied: {thing}")

    storages = kopf_settings().persistence
    monkeypatch.setattr(copy, "deepcopy", refuse)
    old = storages.diffbase_storage.fetch(body=BODY)
    new = storages.diffbase_storage.build(body=BODY, extra_fields=None)
    assert (old, dict(storages.progress_storage.clear(essence=new))) == (None, {})


def test_the_default_of_kopf_would_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the check."""
    copied: list[object] = []
    monkeypatch.setattr(copy, "deepcopy", lambda thing: copied.append(thing) or dict(thing))
    kopf.OperatorSettings().persistence.diffbase_storage.build(body=BODY, extra_fields=None)
    assert copied
