"""What is shipped: bills of materials, provenance, copyright files, equal digests, and the gate for vulnerabilities."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cyclonedx.schema
import jsonschema
import pytest
import referencing

import build
import sbom
import vulnerability_gate
from build import IMAGES, REPOSITORY, CannotBuild
from vulnerability_gate import Allowed, Finding

SCHEMAS = Path(cyclonedx.schema.__file__).parent / "_res"


def valid(document: str) -> dict[str, Any]:
    """Return a bill that holds to the schema of CycloneDX 1.6."""
    named = {
        name: json.loads((SCHEMAS / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    base = named["bom-1.6"]["$id"].rpartition("/")[0]
    registry = referencing.Registry().with_contents(
        [(f"{base}/{name}.SNAPSHOT.schema.json", each) for name, each in named.items()]
    )
    content: dict[str, Any] = json.loads(document)
    jsonschema.Draft7Validator(named["bom-1.6"], registry=registry).validate(content)
    return content


def purls(content: dict[str, Any]) -> set[str]:
    return {each["purl"] for each in content["components"]}


@pytest.fixture
def debian_root(tmp_path: Path) -> Path:
    """Return a root with an installed package, a removed one, and a distribution of Python."""
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(
        "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u9\nArchitecture: amd64\n"
        "Description: GNU C Library\n with a second line\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n",
        encoding="utf-8",
    )
    (root / "usr/share/doc/libc6").mkdir(parents=True)
    (root / "usr/share/doc/libc6/copyright").write_text("LGPL-2.1+", encoding="utf-8")
    info = root / "opt/lib/python3.11/site-packages/A_b.C-1.0.dist-info"
    info.mkdir(parents=True)
    lines = "Metadata-Version: 2.4\nName: A_b.C\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n"
    (info / "METADATA").write_text(lines, encoding="utf-8")
    return root


def small_bill(root: Path, *, sha256: str = "ab" * 32) -> str:
    return sbom.image_bill(
        "seedbed-small",
        version="1",
        digest=f"sha256:{'0' * 64}",
        debian=sbom.debian_packages(root),
        environment=root / "opt",
        hashes={"a-b-c==1.0": sha256},
    )


def test_a_bill_names_what_is_installed_with_licence_and_hash(debian_root: Path) -> None:
    content = valid(small_bill(debian_root))
    assert purls(content) == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=bookworm",
        "pkg:pypi/a-b-c@1.0",
    }
    debian, python = sorted(content["components"], key=lambda each: each["purl"])
    assert debian["properties"] == [{"name": "seedbed:copyright", "value": "/usr/share/doc/libc6/copyright"}]
    assert python["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert python["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert content["metadata"]["component"]["purl"].startswith("pkg:oci/seedbed-small@sha256")


def test_the_same_content_gives_the_same_bill(debian_root: Path) -> None:
    first = small_bill(debian_root)
    assert small_bill(debian_root) == first
    status = debian_root / "var/lib/dpkg/status"
    status.write_text(status.read_text(encoding="utf-8").replace("u9", "u10"), encoding="utf-8")
    other = json.loads(small_bill(debian_root))
    assert other["serialNumber"] != json.loads(first)["serialNumber"]


@pytest.mark.slow
def test_the_wheel_is_built_twice_alike_and_its_bill_names_every_pin(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        command = [sys.executable, str(REPOSITORY / "images/wheel.py"), str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        made.append(Path(done.stdout.strip()))
    first, second = made
    assert first.read_bytes() == second.read_bytes()
    content = valid(first.with_suffix(".cdx.json").read_text(encoding="utf-8"))
    assert first.with_suffix(".cdx.json").read_bytes() == second.with_suffix(".cdx.json").read_bytes()
    pins = {pin for image in IMAGES.values() for pin in sbom.locked_versions(image.lock)}
    assert len(purls(content)) == len(pins) > 100
    (digest,) = content["metadata"]["component"]["hashes"]
    assert digest["content"] == hashlib.sha256(first.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def operator_archive() -> Path:
    """Return the archive of the operator's image, built for real."""
    try:
        return build.built(IMAGES["operator"])
    except CannotBuild as missing:
        pytest.skip(f"not run: {missing}")


@pytest.mark.slow
def test_the_operators_bill_names_each_locked_package_with_the_hash_of_its_wheel(
    operator_archive: Path,
) -> None:
    content = valid(build.bill_of(operator_archive).read_text(encoding="utf-8"))
    python = {each["purl"]: each for each in content["components"] if each["purl"].startswith("pkg:pypi/")}
    here = {purl.removeprefix("pkg:pypi/").replace("@", "==") for purl in python}
    pins = {f"{name}=={version}" for name, version in sbom.locked_versions(IMAGES["operator"].lock)}
    assert here - pins == {f"seedbed=={build.version()}"}
    lock = IMAGES["operator"].lock.read_text(encoding="utf-8")
    for purl, each in python.items():
        if not purl.startswith("pkg:pypi/seedbed@"):
            assert f"sha256:{each['hashes'][0]['content']}" in lock, purl
    assert [purl for purl, each in python.items() if not each.get("licenses")] == []


@pytest.mark.slow
def test_every_debian_package_of_the_image_keeps_its_copyright_file(operator_archive: Path) -> None:
    content = json.loads(build.bill_of(operator_archive).read_text(encoding="utf-8"))
    debian = [each for each in content["components"] if each["purl"].startswith("pkg:deb/")]
    assert len(debian) > 30
    assert [each["name"] for each in debian if not each.get("properties")] == []


@pytest.mark.slow
def test_provenance_names_the_image_its_sources_and_its_packages(operator_archive: Path) -> None:
    statement = json.loads(build.provenance_of(operator_archive).read_text(encoding="utf-8"))
    (subject,) = statement["subject"]
    assert f"sha256:{subject['digest']['sha256']}" == operator_archive.with_suffix(".digest").read_text()
    materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    by_name = {each.get("name"): each for each in materials}
    lock = IMAGES["operator"].lock.read_bytes()
    recorded = by_name["requirements/operator.lock"]["digest"]["sha256"]
    assert recorded == hashlib.sha256(lock).hexdigest()
    assert any(each.get("uri", "").startswith("pkg:deb/debian/libc6@") for each in materials)


@pytest.mark.exhaustive
def test_two_builds_from_nothing_give_one_digest(
    operator_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    again = build.built(IMAGES["operator"])
    assert again != operator_archive
    assert again.with_suffix(".digest").read_text() == operator_archive.with_suffix(".digest").read_text()
    assert again.read_bytes() == operator_archive.read_bytes()


TODAY = date(2026, 6, 1)
FOUND = Finding(package="jinja2", version="3.1.0", ids=("PYSEC-2026-1", "CVE-2026-1"), fixed_in=("3.1.7",))


def entry(*, name: str = "CVE-2026-1", package: str = "jinja2", until: date = TODAY) -> Allowed:
    return Allowed(id=name, package=package, until=until, reason="not called")


@pytest.mark.parametrize(
    ("found", "allowed", "lines"),
    [
        ([], [], []),
        ([FOUND], [], ["jinja2 3.1.0: PYSEC-2026-1; update to 3.1.7, or accept it in vulnerabilities.yaml"]),
        ([FOUND], [entry()], []),
        ([FOUND], [entry(name="PYSEC-2026-1")], []),
        (
            [FOUND],
            [entry(until=date(2026, 5, 31))],
            ["jinja2 3.1.0: PYSEC", "CVE-2026-1 of jinja2 was accepted until 2026-05-31"],
        ),
        ([FOUND], [entry(package="pip")], ["jinja2 3.1.0: PYSEC", "CVE-2026-1 of pip is not found any more"]),
        ([], [entry()], ["CVE-2026-1 of jinja2 is not found any more; remove the entry"]),
    ],
    ids=[
        "nothing found",
        "found",
        "accepted by an alias until today",
        "accepted by its id",
        "accepted until yesterday",
        "accepted for another package",
        "accepted and not found",
    ],
)
def test_the_gate(found: list[Finding], allowed: list[Allowed], lines: list[str]) -> None:
    wrong = vulnerability_gate.problems(found, allowed, today=TODAY)
    assert len(wrong) == len(lines)
    assert all(expected in line for expected, line in zip(lines, wrong, strict=True))


class _Osv(BaseHTTPRequestHandler):
    """An OSV server that knows one vulnerability, of jinja2."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        affected = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "ranges": []}
        known = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "a hole", "affected": [affected]}
        answer = {"vulns": [known]} if query["package"]["name"] == "jinja2" else {}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    server.shutdown()
    server.server_close()


def gate(tmp_path: Path, url: str, allowed: str) -> tuple[int, str]:
    """Run the gate as `make audit` does; return its exit code and what it prints."""
    (tmp_path / "allowed.yaml").write_text(allowed, encoding="utf-8")
    command = [sys.executable, str(REPOSITORY / "images/vulnerability_gate.py"), "--osv-url", url]
    done = subprocess.run(
        [*command, "--allowed", str(tmp_path / "allowed.yaml")], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_the_gate_asks_a_server_about_every_lock(osv: str, tmp_path: Path) -> None:
    code, printed = gate(tmp_path, osv, "[]")
    assert code == 1
    assert "jinja2" in printed
    assert "PYSEC-2026-1; no fixed version yet" in printed
    accepted = "[{id: CVE-2026-1, package: jinja2, until: 2999-01-01, reason: no templates of strangers}]"
    assert gate(tmp_path, osv, accepted) == (0, "no vulnerability but 1 accepted ones\n")


@pytest.mark.slow
def test_the_gate_without_data_says_that_it_did_not_run(tmp_path: Path) -> None:
    code, printed = gate(tmp_path, "http://127.0.0.1:1/v1/query", "[]")
    assert (code, printed[:47]) == (0, "not run: no data about vulnerabilities: request")
