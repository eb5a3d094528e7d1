"""Storing a receipt: the first one stays; a later one must agree on all that the run identity decides."""

from __future__ import annotations

from seedbed.receipts.receipt_reader import Receipt, is_receipt, read_receipt, same_outcome, to_bytes
from seedbed.receipts.receipt_statement import Statement
from seedbed.runs import RECEIPT, RunFolder
from seedbed_api.canonical_json import digest_of


def save_receipt(folder: RunFolder, document: Statement) -> Receipt:
    """Write the receipt and return the one that lies there.

    Raises InfrastructureError RunFolderConflict where another outcome was receipted before.
    """
    folder.publish(RECEIPT, to_bytes(document), valid=is_receipt, agrees=same_outcome)
    return read_receipt(folder.objects)


def receipt_digest(receipt: Receipt) -> str:
    """Return `sha256:<hex>` of the receipt's bytes, as `status.receipt.digest` shows it."""
    return digest_of(to_bytes(receipt.document))
