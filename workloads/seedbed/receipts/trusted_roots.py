"""Trusted roots of Sigstore instances: `trusted_root.json` with authorities and logs, each valid for a time.

The library `sigstore` also uses those whose time is over. Here a certificate is verified by those that were
valid when it was issued, which a log or a timestamp authority confirms: a retired key signs nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from seedbed.receipts.small_files import read_small_file
from seedbed_api.attestations.dsse_envelope import EnvelopeError
from seedbed_api.attestations.signature_policy import REASON
from seedbed_api.canonical_json import canonical_json
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line
from seedbed_api.strict_json import parse_json

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore.verify import Verifier

MOST_BYTES = 2**20
_FIX = "write the trusted_root.json of the Sigstore instance"
_NAMES = {"certificateAuthorities": "authority", "ctlogs": "certificate log", "tlogs": "log"}
_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_SIGNING = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
_TIME = TypeAdapter(datetime)


@dataclass(frozen=True, slots=True)
class TrustedRootFile:
    """The document of a trusted root, which the library accepts."""

    document: Mapping[str, Any]

    def library_root(self) -> TrustedRoot:
        """Return the root as the library has it."""
        return self.client_config({"mediaType": _SIGNING}).trusted_root

    def client_config(self, signing_config: Any) -> ClientTrustConfig:
        """Return the root with a signing config; the library's other readers take names of files."""
        from sigstore.models import ClientTrustConfig

        parts = {"trustedRoot": dict(self.document), "signingConfig": signing_config}
        return ClientTrustConfig.from_json(canonical_json({"mediaType": _CONFIG, **parts}).decode())

    def verifier(self) -> Verifier:
        """Return what verifies by all that is listed."""
        from sigstore.verify import Verifier

        return Verifier(trusted_root=self.library_root())

    def verifier_at(self, when: datetime) -> Verifier:
        """Return what verifies by all that was valid at a time. Raises EnvelopeError where too little was."""
        valid = {name: [each for each in self.document[name] if _was_valid(each, when)] for name in _NAMES}
        missing = [_NAMES[name] for name, kept in valid.items() if not kept]
        if missing:
            day = when.strftime("%Y-%m-%d")
            raise EnvelopeError(
                f"is of {day}, when no {' and no '.join(missing)} of the trusted root was valid"
            )
        return TrustedRootFile({**self.document, **valid}).verifier()


def read_trusted_root(path: Path, field: str) -> TrustedRootFile:
    """Return the trusted root in a file; `field` names it in errors. Raises UserError InvalidPolicy."""
    return parse_trusted_root(read_root_text(path, field), field, shown=str(path))


def read_root_text(path: Path, field: str) -> str:
    """Return the text of a trusted root, which is not looked at. Raises UserError InvalidPolicy."""
    data = read_small_file(path, MOST_BYTES, reason=REASON, field=field)
    if len(data) > MOST_BYTES:
        raise UserError(REASON, refusal(field, str(path), f"has more than {MOST_BYTES} bytes", _FIX))
    return data.decode(errors="replace")


def parse_trusted_root(text: str, field: str, *, shown: str = "…") -> TrustedRootFile:
    """Return the trusted root in a text; `shown` is its place. Raises UserError InvalidPolicy."""
    try:
        return _parsed(text)
    except Exception as error:  # the library raises whatever its parsers raise
        problem = f"is no trusted root with an authority and a log: {words_of(error)}"
        raise UserError(REASON, refusal(field, shown, problem, _FIX)) from error


@lru_cache(maxsize=64)
def _parsed(text: str) -> TrustedRootFile:
    root = TrustedRootFile(parse_json(text, most_bytes=MOST_BYTES))
    root.verifier()
    _require_usual_names(root.document)
    return root


def _require_usual_names(document: Mapping[str, Any]) -> None:
    """Refuse the names of Python, which the library takes as well: dates under them would be overlooked."""
    logs = [log.get("publicKey") for name in ("tlogs", "ctlogs") for log in document[name]]
    for each in (document, *document["certificateAuthorities"], *logs):
        if other := next((name for name in each if "_" in name), None):
            raise ValueError(f"{other} is no name of a field; write it in camelCase")


def words_of(error: BaseException) -> str:
    """Return what a library says, in a line."""
    return on_one_line(" ".join(str(error).split()))[:240] or type(error).__name__


def _was_valid(listed: Mapping[str, Any], when: datetime) -> bool:
    """Return whether an authority, or the key of a log, was valid; one without dates always is."""
    period = listed.get("validFor") or listed.get("publicKey", {}).get("validFor") or {}
    start, end = (_time(period.get(name)) for name in ("start", "end"))
    return (start is None or start <= when) and (end is None or when <= end)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    found = _TIME.validate_python(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
