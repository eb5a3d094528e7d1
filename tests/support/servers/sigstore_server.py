"""The services of a Sigstore instance over HTTP: an authority that reads tokens, and a transparency log."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from support.sigstore_instance import ISSUER, SUBJECT, SigstoreInstance, dsse_body

_SECRET = "of the issuer of tokens, which the authority knows too"


@dataclass
class SigstoreServer:
    """A running instance; `faults` maps the end of a path to the status that it answers instead."""

    instance: SigstoreInstance
    url: str = ""
    faults: dict[str, int] = field(default_factory=dict)
    delay_seconds: float = 0.0
    seen: list[str] = field(default_factory=list)
    """Paths that were asked for."""

    def signing_config(self, url: str = "") -> bytes:
        """Return signing_config.json."""
        start = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        service = {
            "url": url or self.url,
            "majorApiVersion": 1,
            "validFor": {"start": start},
            "operator": self.instance.name,
        }
        fields = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service],
            "rekorTlogUrls": [service],
            "rekorTlogConfig": {"selector": "ANY"},
        }
        return json.dumps(fields).encode()


def a_token(secret: str = _SECRET, **claims: Any) -> str:
    """Return a token of the issuer for the usual subject."""
    now = int(time.time())
    usual = {"iss": ISSUER, "sub": SUBJECT, "aud": "sigstore", "iat": now, "exp": now + 600}
    fields = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return jwt.encode(fields, secret, algorithm="HS256")


@contextmanager
def sigstore_server() -> Iterator[SigstoreServer]:
    """Serve a new instance on a free port."""
    served = SigstoreServer(SigstoreInstance())

    class Handler(_Handler):
        server_of = served

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_of: SigstoreServer

    def do_POST(self) -> None:
        """Answer the two requests of a signer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server_of.seen.append(self.path)
        time.sleep(self.server_of.delay_seconds)
        fault = next((code for path, code in self.server_of.faults.items() if self.path.endswith(path)), None)
        if fault is not None:
            return self._answer(fault, {"code": fault, "message": "not today"})
        if self.path == "/api/v2/signingCert":
            return self._issue(json.loads(body))
        assert self.path == "/api/v1/log/entries", self.path
        return self._log(json.loads(body))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _issue(self, request: dict[str, Any]) -> None:
        raw = self.headers["Authorization"].removeprefix("Bearer ")
        try:
            claims = jwt.decode(raw, _SECRET, algorithms=["HS256"], audience="sigstore")
        except jwt.InvalidTokenError:
            return self._answer(401, {"code": 16, "message": "the token is of no known issuer"})
        csr = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
        key = csr.public_key()
        assert csr.is_signature_valid
        assert isinstance(key, ec.EllipticCurvePublicKey)
        instance = self.server_of.instance
        issued = instance.certificate(
            key, issuer=claims["iss"], subject=claims["sub"], start=datetime.now(UTC).replace(microsecond=0)
        )
        chain = [each.public_bytes(Encoding.PEM).decode() for each in (issued, instance.ca)]
        return self._answer(200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})

    def _log(self, request: dict[str, Any]) -> None:
        content = request["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        certificate = x509.load_pem_x509_certificate(base64.b64decode(content["verifiers"][0]))
        entry = self.server_of.instance.entry(dsse_body(envelope, certificate), datetime.now(UTC))
        return self._answer(201, {"e" * 64: as_rekor_answers(entry)})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def as_rekor_answers(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of a bundle in the form of the log's own interface."""
    proof = entry["inclusionProof"]
    return {
        "body": entry["canonicalizedBody"],
        "integratedTime": int(entry["integratedTime"]),
        "logID": _hex(entry["logId"]["keyId"]),
        "logIndex": int(entry["logIndex"]),
        "verification": {
            "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "inclusionProof": {
                "checkpoint": proof["checkpoint"]["envelope"],
                "hashes": [_hex(each) for each in proof["hashes"]],
                "logIndex": int(proof["logIndex"]),
                "rootHash": _hex(proof["rootHash"]),
                "treeSize": int(proof["treeSize"]),
            },
        },
    }


def _hex(encoded: str) -> str:
    return base64.b64decode(encoded).hex()
