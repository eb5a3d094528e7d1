"""A certificate authority of one testbed, made by the openssl command: few bytes of crypto of our own are best."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    """Signs the certificates of servers and users of one testbed."""

    folder: Path
    own: Certificate

    def sign(
        self, name: str, *, user: str, groups: Sequence[str] = (), addresses: Sequence[str] = ()
    ) -> Certificate:
        """Return a certificate for a user of groups, and for the addresses (`IP:…`, `DNS:…`) of a server."""
        certificate = self.folder / f"{name}.crt"
        made = Certificate(certificate=certificate, key=certificate.with_suffix(".key"))
        extensions = ["-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        if addresses:
            extensions += ["-addext", f"subjectAltName={','.join(addresses)}"]
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        signer = ["-CA", str(self.own.certificate), "-CAkey", str(self.own.key)]
        _request(made, subject, *signer, "-addext", "basicConstraints=CA:FALSE", *extensions)
        return made


def create_authority(folder: Path) -> Authority:
    """Make a new authority with its files in `folder`."""
    folder.mkdir(parents=True)
    own = Certificate(certificate=folder / "ca.crt", key=folder / "ca.key")
    _request(own, "/CN=seedbed-testbed")
    return Authority(folder=folder, own=own)


def create_signing_key(path: Path) -> Path:
    """Make the key that signs service account tokens, in SEC 1 form: the API server reads no public key from PKCS 8."""
    command = ("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(path))
    subprocess.run(command, check=True, capture_output=True)
    return path


def _request(made: Certificate, subject: str, *options: str) -> None:
    files = ("-keyout", str(made.key), "-out", str(made.certificate))
    command = ("openssl", "req", "-x509", *_NEW_KEY, *files, "-subj", subject, *options)
    subprocess.run(command, check=True, capture_output=True)
