"""A control store in the place of Ray's."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest

from seedbed.ray_cluster import rendezvous_store
from support.gloo.control_store import ControlStore


@pytest.fixture
def control() -> Iterator[ControlStore]:
    store = ControlStore()
    with mock.patch.object(rendezvous_store, "internal_kv", store):
        yield store
