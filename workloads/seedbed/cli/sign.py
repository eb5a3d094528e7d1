"""`seedbed sign`: vouch for a finished run with a key of one's own, or store the operator's signature."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
@click.option("--output-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
def command(receipt: str, key: Path | None, envelope: Path | None, output_secret: Path | None) -> None:
    """Sign the receipt of a finished run with a key of your own.

    RECEIPT is receipt.json or the run folder, a path or URL. The signature says that you vouch for the run;
    how it was made, only a cluster's operator can sign. It is stored in signatures/ beside the receipt.
    """
    from seedbed.receipts import read_receipt
    from seedbed.replay.receipt_location import split_reference

    if (key is None) == (envelope is None):
        raise UserError(
            "InvalidOption", "--key: needed exactly where --envelope is not given; give one of them"
        )
    storage, name = split_reference(receipt, secret=output_secret)
    found = read_receipt(storage, name=name)
    paths = _sign(storage, found, key) if key is not None else [_attach(storage, found, envelope)]
    for path in paths:
        echo(f"signed: {storage.url}/{path}")


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


def _attach(storage: Storage, receipt: Receipt, file: Path | None) -> str:
    from seedbed.receipts.signature_store import read_small_file, store_envelope
    from seedbed_api.attestations.dsse_envelope import MOST_BYTES

    assert file is not None
    return store_envelope(
        storage, receipt, read_small_file(file, MOST_BYTES, reason="InvalidSignature").strip()
    )
