"""Write a software bill of materials (CycloneDX 1.6 JSON) of an image or of the wheel.

The bill of an image names the Debian packages of its root and the Python distributions of /opt/seedbed; that
of the wheel names the locked versions of its dependencies. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Protocol

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from ociarchive import EPOCH

_PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
_LICENSE_CLASSIFIER = "License :: OSI Approved :: "
_LICENSES = LicenseFactory()
_SHORT = 64
"""A longer field `License` is the text of a licence, not its name."""


class Headers(Protocol):
    """Metadata of a distribution."""

    def get(self, name: str) -> str | None: ...  # noqa: D102
    def get_all(self, name: str) -> list[str] | None: ...  # noqa: D102


def image_bill(
    name: str,
    *,
    version: str,
    digest: str,
    debian: Iterable[Component],
    environment: Path,
    hashes: Mapping[str, str],
) -> str:
    """Return the bill of an image of a Debian root and a Python environment.

    `digest` is that of the image's manifest; `debian` are the packages of the root (see `debian_packages`),
    `hashes` those of the wheels (see `wheel_hashes`).
    """
    subject = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=version,
        hashes=[_sha256(digest.removeprefix("sha256:"))],
        purl=PackageURL("oci", None, name, digest),
        bom_ref=f"image:{name}",
    )
    return bill(subject, (*debian, *python_packages(environment, hashes)))


def wheel_bill(wheel: Path, locks: Iterable[Path]) -> str:
    """Return the bill of the wheel; its dependencies are the versions of the locks."""
    name, version, *_ = wheel.name.split("-")
    subject = Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        hashes=[_sha256(hashlib.sha256(wheel.read_bytes()).hexdigest())],
        purl=PackageURL("pypi", None, name, version),
        bom_ref=f"wheel:{name}",
        licenses=[_LICENSES.make_from_string("Apache-2.0")],
    )
    pins = sorted({pin for lock in locks for pin in locked_versions(lock)})
    return bill(subject, (_python(*pin, scope=ComponentScope.OPTIONAL) for pin in pins))


def bill(subject: Component, components: Iterable[Component]) -> str:
    """Return the document; its serial number is that of its content."""
    listed = sorted(components, key=lambda each: str(each.purl))
    content = "\n".join(str(each.purl) for each in (subject, *listed))
    metadata = BomMetaData(component=subject, timestamp=datetime.fromtimestamp(EPOCH, UTC))
    document = Bom(
        components=listed, metadata=metadata, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, content)
    )
    document.register_dependency(subject, listed)
    return JsonV1Dot6(document).output_as_string(indent=2) + "\n"


def debian_packages(root: Path) -> Iterator[Component]:
    """Yield the packages that dpkg has installed in a root, with the path of their copyright file."""
    status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for block in status.strip().split("\n\n"):
        fields = HeaderParser().parsestr(block)
        if not fields["Status"].endswith(" installed"):
            continue
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        place = root / f"usr/share/doc/{name}/copyright"
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture, "distro": "bookworm"})
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=purl,
            bom_ref=str(purl),
            properties=[Property(name="seedbed:copyright", value=f"/usr/share/doc/{name}/copyright")]
            if place.exists()
            else [],
        )


def python_packages(environment: Path, hashes: Mapping[str, str]) -> Iterator[Component]:
    """Yield the distributions of an environment; `hashes` are those of wheels by `name==version`."""
    folders = [str(folder) for folder in environment.glob("lib/python3*/site-packages")]
    for found in distributions(path=folders):
        name = canonical(found.name)
        yield _python(name, found.version, license_of=found, sha256=hashes.get(f"{name}=={found.version}"))


def wheel_hashes(folder: Path) -> dict[str, str]:
    """Return `name==version` -> hex sha256 of each wheel of a folder."""
    parts = {path: path.name.split("-") for path in folder.glob("*.whl")}
    return {
        f"{canonical(name)}=={version}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path, (name, version, *_) in parts.items()
    }


def locked_versions(lock: Path) -> list[tuple[str, str]]:
    """Return (name, version) of each pin of a lock."""
    return [(canonical(name), version) for name, version in _PIN.findall(lock.read_text(encoding="utf-8"))]


def canonical(name: str) -> str:
    """Return the name of a distribution as PyPA normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(
    name: str,
    version: str,
    *,
    license_of: Distribution | None = None,
    sha256: str | None = None,
    scope: ComponentScope | None = None,
) -> Component:
    purl = PackageURL("pypi", None, name, version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        scope=scope,
        purl=purl,
        bom_ref=str(purl),
        hashes=[_sha256(sha256)] if sha256 else [],
        licenses=[] if license_of is None else [*_license(license_of.metadata)],  # type: ignore[arg-type]
    )


def _license(metadata: Headers) -> Iterator[License]:
    """Yield the declared licence: the expression, else a short name, else what the classifiers name."""
    name = metadata.get("License") or ""
    short = name if name != "UNKNOWN" and len(name) <= _SHORT and "\n" not in name else ""
    if declared := metadata.get("License-Expression") or short:
        yield _LICENSES.make_from_string(declared)
        return
    for classifier in metadata.get_all("Classifier") or []:
        if classifier.startswith(_LICENSE_CLASSIFIER):
            yield _LICENSES.make_from_string(classifier.removeprefix(_LICENSE_CLASSIFIER))


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)
