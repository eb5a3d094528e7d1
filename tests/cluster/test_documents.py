"""kubectl and a real API server on every document of the table: taken, refused, and read as `seedbed validate` does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest

from seedbed_api.yaml_documents import found_in
from support.manifests.yaml_documents import STEPS, SUSPENDED, every_document, with_steps, with_suspend
from testbed.kube import Kube

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("established")]


def applied(kube: Kube, folder: Path, text: str) -> list[dict[str, Any]] | None:
    """Return what `kubectl apply` would store, None where it refuses."""
    path = folder / "odd.yaml"
    folder.mkdir()
    path.write_bytes(text.encode())
    try:
        answer = json.loads(kube.kubectl("apply", "--dry-run=server", "-o", "json", "-f", str(path)))
    except (CalledProcessError, AssertionError):
        return None
    return answer.get("items", [answer])


def test_kubectl_takes_what_the_table_says(kube: Kube, tmp_path: Path) -> None:
    documents = every_document()
    folders = [tmp_path / str(number) for number in range(len(documents))]
    with ThreadPoolExecutor(4) as pool:
        texts = [text for text, _ in documents.values()]
        answers = list(pool.map(lambda folder, text: applied(kube, folder, text), folders, texts))
    taken = dict(zip(documents, (answer is not None for answer in answers), strict=True))
    assert {name: it for name, it in taken.items() if it is not documents[name][1]} == {}


def test_kubectl_reads_the_values_of_the_table(kube: Kube, tmp_path: Path) -> None:
    for number, (text, value) in enumerate([*STEPS.items(), *SUSPENDED.items()]):
        if value is None:
            continue
        steps = isinstance(value, int) and not isinstance(value, bool)
        written = with_steps(text) if steps else with_suspend(text)
        answer = applied(kube, tmp_path / str(number), written)
        assert answer is not None, text
        spec = answer[0]["spec"]
        assert (spec["training"]["steps"] if steps else spec["suspend"]) == value, text
        if text not in ("", "null"):
            ours = found_in(written, "odd")[0].content["spec"]
            assert (ours["training"]["steps"] if steps else ours["suspend"]) == value, text
