"""Sign a Statement as who an OIDC token names, by a Sigstore instance: authority, log, timestamp authorities.

The library `sigstore` asks them; it sets no time limit, so a thread does it, which is given up after a while.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from seedbed.receipts.identity_signatures import (
    Identity,
    identity_of,
    require_library,
    verified_payload,
)
from seedbed.receipts.small_files import read_small_file
from seedbed.receipts.trusted_roots import TrustedRootFile, read_trusted_root, words_of
from seedbed.storage.redirect_policy import is_local_host
from seedbed_api.attestations.dsse_envelope import EnvelopeError
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal
from seedbed_api.strict_json import parse_json

if TYPE_CHECKING:
    from sigstore.models import Bundle, SigningConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

PATIENCE_SECONDS = 120.0
MOST_TOKEN_BYTES = 64 * 2**10
MOST_CONFIG_BYTES = 2**20
TOKEN, CONFIG, ROOT = "--identity-token", "--signing-config", "--trusted-root"
_FRESH = "get a new token, whose audience is sigstore"


def sign_as_identity(
    payload: bytes, *, token: str, signing_config: Path, trusted_root: Path
) -> tuple[bytes, Identity]:
    """Return the bundle of a Statement, and who signed it.

    `token` is a file, or `env:NAME` for an environment variable. The bundle is verified before it returns.
    Raises UserError, and InfrastructureError SigstoreUnavailable where a service does not answer.
    """
    require_library(TOKEN)
    from sigstore.sign import SigningContext

    identity = parse_token(read_token(token))
    root = read_trusted_root(trusted_root, ROOT)
    config = _read_config(signing_config, root)
    context = SigningContext(
        fulcio=config.get_fulcio(),
        rekor=config.get_tlogs()[0],
        trusted_root=root.library_root(),
        tsa_clients=config.get_tsas(),
    )
    bundle = _within(PATIENCE_SECONDS, lambda: _sign(context, identity, payload))
    try:
        signer = identity_of(bundle.signing_certificate)
        verified_payload(bundle, root, lambda *names: Identity(*names) == signer)
    except EnvelopeError as error:
        line = f"{ROOT}: the signature that was made {error}; give the root of the instance in {CONFIG}"
        raise UserError("InvalidSignature", line) from error
    return bundle.to_json().encode(), signer


def read_token(source: str) -> str:
    """Return the token in a file, or in the variable of `env:NAME`. Raises UserError InvalidIdentityToken."""
    reason, (scheme, _, name) = "InvalidIdentityToken", source.partition(":")
    if scheme == "env":
        data = os.environ.get(name, "").encode(errors="replace")
    else:
        data = read_small_file(Path(source), MOST_TOKEN_BYTES, reason=reason, field=TOKEN)
    token = data.decode(errors="replace").strip()
    if not token:
        raise UserError(reason, refusal(TOKEN, source, "holds no token", "name a file, or env:NAME"))
    if len(data) > MOST_TOKEN_BYTES:
        raise UserError(reason, refusal(TOKEN, source, f"has more than {MOST_TOKEN_BYTES} bytes", _FRESH))
    return token


def parse_token(token: str) -> IdentityToken:
    """Return a token, which only the authority verifies. Raises UserError InvalidIdentityToken."""
    from sigstore.oidc import IdentityError, IdentityToken

    try:
        return IdentityToken(token)
    except IdentityError as error:  # what caused it never holds the token itself
        problem = words_of(error.__cause__ or error)
        line = f"{TOKEN}: is no token of OpenID Connect that can be used ({problem}); {_FRESH}"
        raise UserError("InvalidIdentityToken", line) from None


def _read_config(file: Path, root: TrustedRootFile) -> SigningConfig:
    data = read_small_file(file, MOST_CONFIG_BYTES, reason="InvalidSigningConfig", field=CONFIG)
    fix = "write the signing_config.json of the Sigstore instance"
    try:
        config = root.client_config(parse_json(data, most_bytes=MOST_CONFIG_BYTES)).signing_config
    except Exception as error:  # the library raises whatever its parsers raise
        problem = f"is no signing config with an authority and a log: {words_of(error)}"
        raise UserError("InvalidSigningConfig", refusal(CONFIG, str(file), problem, fix)) from error
    for url in _services(config):
        if urlsplit(url).scheme != "https" and not is_local_host(urlsplit(url).hostname or ""):
            problem = "is not https, and whoever reads the token can sign with it"
            raise UserError("InvalidSigningConfig", refusal(CONFIG, url, problem, "write its https address"))
    return config


def _services(config: SigningConfig) -> Iterator[str]:
    yield config.get_fulcio().url
    for client in (*config.get_tlogs()[:1], *config.get_tsas()):
        yield str(getattr(client, "url"))  # noqa: B009 - not in the type of logs


def _sign(context: SigningContext, token: IdentityToken, payload: bytes) -> Bundle:
    from sigstore.dsse import Statement

    with context.signer(token) as signer:
        return signer.sign_dsse(Statement(payload))


def _within(seconds: float, sign: Callable[[], Bundle]) -> Bundle:
    """Return what a thread of its own returns; raise what it raises, in one line."""
    done: list[Bundle] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(sign())
        except Exception as error:  # as above
            failed.append(error)

    thread = threading.Thread(target=run, name="sigstore", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise _translated(failed[0]) from failed[0]
    if not done:
        line = f"{CONFIG}: a service did not answer within {seconds:g} s; try again later"
        raise InfrastructureError("SigstoreUnavailable", line)
    return done[0]


def _translated(error: Exception) -> SeedbedError:
    """Return an error of the library's clients, which differ, as one of ours."""
    from requests import HTTPError, RequestException

    chain = list(_chain(error))
    words = words_of(chain[0]) if str(chain[0]) else words_of(chain[-1])
    answer = next((each.response for each in chain if isinstance(each, HTTPError)), None)
    if answer is not None and answer.status_code < 500:
        line = f"{TOKEN}: {answer.url} refused it with HTTP {answer.status_code} ({words}); {_FRESH}"
        return UserError("SigningRefused", line)
    if answer is not None or any(isinstance(each, RequestException) for each in chain):
        return InfrastructureError("SigstoreUnavailable", f"{CONFIG}: {words}; try again later")
    return UserError("InvalidSignature", f"{CONFIG}: {words}; ask who runs the Sigstore instance")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
