"""OpenSSF signatures of a model folder (`model_signing` of the extra `sign`): `signatures/<key>.model.sig`.

The library signs local folders with ECDSA keys, so the files are copied; it is imported when needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from seedbed.receipts.receipt_store import Receipt
from seedbed.receipts.signature_store import SIGNATURES
from seedbed.storage import Storage
from seedbed.storage.object_limits import TENSORS
from seedbed_api.accepted_signers import AcceptedKey
from seedbed_api.errors import UserError

MOST_BYTES = 2**20
_MODEL = "model/"


def can_sign_models() -> bool:
    """Return whether the library is installed."""
    return find_spec("model_signing") is not None


def model_signature_path(key_id: str) -> str:
    """Return the path of a key's signature of the model folder."""
    return f"{SIGNATURES}/{key_id.removeprefix('sha256:')}.model.sig"


def sign_model(storage: Storage, receipt: Receipt, key_file: Path, key_id: str) -> str:
    """Sign the model files of a run with an ECDSA key; return the path of the signature."""
    from model_signing import signing

    path = model_signature_path(key_id)
    with _local_model(storage, receipt) as folder, tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "model.sig"
        config = signing.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_signer(private_key=key_file).sign(folder, bundle)
        storage.put(path, bundle.read_bytes())
    return path


def check_model_signature(storage: Storage, receipt: Receipt, entry: AcceptedKey) -> bool:
    """Return whether a key has signed the model folder. Raises UserError InvalidSignature otherwise."""
    path = model_signature_path(entry.key.key_id)
    if entry.key.kind != "ecdsa-p256" or not storage.exists(path):
        return False
    if not can_sign_models():
        line = f"{storage.url}/{path}: cannot be checked without the library; install seedbed[sign]"
        raise UserError("InvalidSignature", line)
    _verify(storage, receipt, entry, path)
    return True


def _verify(storage: Storage, receipt: Receipt, entry: AcceptedKey, path: str) -> None:
    from model_signing import verifying

    with _local_model(storage, receipt) as folder, tempfile.TemporaryDirectory() as scratch:
        public, bundle = Path(scratch) / "key.pub", Path(scratch) / "model.sig"
        public.write_text(entry.public_key)
        bundle.write_bytes(storage.read_range(path, 0, min(storage.size(path), MOST_BYTES)))
        config = verifying.Config()  # type: ignore[no-untyped-call]
        try:
            config.use_elliptic_key_verifier(public_key=public).verify(folder, bundle)
        except Exception as error:  # the library raises whatever its parsers raise
            problem = " ".join(str(error).split())[:200] or type(error).__name__
            line = f"{storage.url}/{path}: does not match key {entry.name} and the model files: {problem}"
            raise UserError(
                "InvalidSignature", f"{line}; sign the run again, or restore its files"
            ) from error


@contextmanager
def _local_model(storage: Storage, receipt: Receipt) -> Iterator[Path]:
    """Yield a folder with the model files that the receipt names."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in receipt.decided.subjects:
            parts = PurePosixPath(name).parts
            if not name.startswith(_MODEL) or ".." in parts:
                continue
            target = Path(scratch).joinpath(*parts[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(storage.read(name, TENSORS))
        yield Path(scratch)
