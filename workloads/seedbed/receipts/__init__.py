"""Receipts of finished runs: in-toto Statements of inputs and outputs; create, store and verify them."""

from __future__ import annotations

from seedbed.receipts.receipt_statement import Decided, Execution, Statement, statement
from seedbed.receipts.receipt_store import (
    Receipt,
    read_receipt,
    receipt_digest,
    save_receipt,
    to_bytes,
    verify_receipt,
)

__all__ = [
    "Decided",
    "Execution",
    "Receipt",
    "Statement",
    "read_receipt",
    "receipt_digest",
    "save_receipt",
    "statement",
    "to_bytes",
    "verify_receipt",
]
