"""`seedbed sign`: vouch for a finished run by key or identity, or store the operator's signature."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.standard_streams import echo
from seedbed_api.errors import UserError

if TYPE_CHECKING:
    from seedbed.receipts import Receipt
    from seedbed.storage import Storage

_file = click.Path(path_type=Path)


@click.command("sign")
@click.argument("receipt")
@click.option("--key", type=_file, metavar="FILE", help="Private key in PEM: Ed25519, or ECDSA on P-256.")
@click.option("--envelope", type=_file, metavar="FILE", help="Store this signature instead of making one.")
@click.option("--identity-token", metavar="FILE|env:NAME", help="OpenID Connect token; signs as its subject.")
@click.option("--signing-config", type=_file, metavar="FILE", help="signing_config.json of that Sigstore.")
@click.option("--trusted-root", type=_file, metavar="FILE", help="trusted_root.json of that Sigstore.")
@click.option("--output-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
def command(receipt: str, output_secret: Path | None, **options: Any) -> None:
    """Sign the receipt of a finished run with a key of your own, or as who a token says you are.

    RECEIPT is receipt.json or the run folder, a path or URL. The signature says that you vouch for the run;
    how it was made, only a cluster's operator can sign. It is stored in signatures/ beside the receipt.

    A token needs a Sigstore instance: its authority names you in a certificate, its log keeps your name and
    the digests of receipt and model.
    """
    from seedbed.receipts import read_receipt
    from seedbed.replay.receipt_location import split_reference

    _check_options(options)
    storage, name = split_reference(receipt, secret=output_secret)
    found = read_receipt(storage, name=name)
    for path in _signed(storage, found, options):
        echo(f"signed: {storage.url}/{path}")


def _check_options(options: dict[str, Any]) -> None:
    """Raise UserError InvalidOption unless there is one way to sign, with all that it needs."""
    ways = [name for name in ("key", "envelope", "identity_token") if options[name] is not None]
    if len(ways) != 1:
        line = "--key: needed exactly where --envelope is not given, nor --identity-token; give one of them"
        raise UserError("InvalidOption", line)
    for name, what in (("signing_config", "where to sign"), ("trusted_root", "whose certificates count")):
        if (options[name] is not None) != (ways == ["identity_token"]):
            option = f"--{name.replace('_', '-')}"
            line = f"{option}: says {what}, with --identity-token and with it alone; give both or neither"
            raise UserError("InvalidOption", line)


def _signed(storage: Storage, receipt: Receipt, options: dict[str, Any]) -> list[str]:
    """Return the paths of the new signatures."""
    if options["key"] is not None:
        return _sign(storage, receipt, options["key"])
    if options["envelope"] is not None:
        return [_attach(storage, receipt, options["envelope"])]
    return [_sign_as_identity(storage, receipt, options)]


def _sign(storage: Storage, receipt: Receipt, file: Path) -> list[str]:
    from seedbed.receipts.model_signature import can_sign_models, sign_model
    from seedbed.receipts.signature_store import read_signing_key, self_signed, store_envelope
    from seedbed_api.attestations.dsse_envelope import sign_payload
    from seedbed_api.timestamps import format_time

    key = read_signing_key(file)
    statement = self_signed(receipt, signed_on=format_time(datetime.now(UTC)))
    paths = [store_envelope(storage, receipt, sign_payload(statement.payload, key))]
    if key.public.kind == "ecdsa-p256" and can_sign_models() and storage.exists("model/config.json"):
        paths.append(sign_model(storage, receipt, file, key.public.key_id))
    return paths


def _sign_as_identity(storage: Storage, receipt: Receipt, options: dict[str, Any]) -> str:
    from seedbed.receipts.identity_signing import sign_as_identity
    from seedbed.receipts.signature_store import self_signed, store_envelope
    from seedbed_api.timestamps import format_time

    statement = self_signed(receipt, signed_on=format_time(datetime.now(UTC)))
    bundle, signer = sign_as_identity(
        statement.payload,
        token=options["identity_token"],
        signing_config=options["signing_config"],
        trusted_root=options["trusted_root"],
    )
    echo(f"signer: {signer}")
    return store_envelope(storage, receipt, bundle)


def _attach(storage: Storage, receipt: Receipt, file: Path) -> str:
    from seedbed.receipts.signature_store import MOST_SIGNATURE_BYTES, store_envelope
    from seedbed.receipts.small_files import read_small_file

    envelope = read_small_file(file, MOST_SIGNATURE_BYTES, reason="InvalidSignature")
    return store_envelope(storage, receipt, envelope.strip())
