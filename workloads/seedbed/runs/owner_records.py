"""Owner records: who wrote an object of the output store, by a key that a neighbour does not have.

A record is a MAC over the kind of an object, what it belongs to, and its digest. The key is a file: a Secret
of the namespace, or a file of the user. Code that can read the key can write records: that is the code of the
namespace or user itself.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from seedbed.storage import DamagedObject, OversizedObject, Storage
from seedbed.storage.object_limits import OWNER_RECORD
from seedbed_api.canonical_json import canonical_json
from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json

OWNERS = "owners"
"""Folder of owner records in a run or sweep folder; and, in a store, of the places of owners whose own
folders somebody else holds."""
HOLDER = "owner.json"
"""Object of a run folder: the owner who has claimed it."""
NO_OWNER_RECORD = "spec.output.trust is not Store, and no owner record of yours vouches for it"
KEY_VARIABLE = "SEEDBED_OWNER_KEY"
_PURPOSE = b"seedbed.dev/owner/v1\0"
_KEY_BYTES = 32
_LEAST_KEY_BYTES = 16
_MOST_KEY_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A user or namespace, by its key."""

    key: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Return the public name of the owner, 16 hex digits."""
        return self._mac({"kind": "owner"})[:16]

    @property
    def place(self) -> str:
        """Return the folder of a store for what cannot lie in the folders that others hold."""
        return f"{OWNERS}/{self.name}"

    def vouch(self, folder: Storage, kind: str, *, subject: str, digest: str) -> None:
        """Write the record of an object; `subject` is the identity of its run or sweep."""
        path, data = self._path(kind), self._record(kind, subject, digest)
        if not folder.create(path, data) and _read(folder, path) != data:
            folder.put(path, data)

    def vouched(self, folder: Storage, kind: str, *, subject: str) -> str | None:
        """Return the digest of the object that a record of this owner vouches for; None without one."""
        data = _read(folder, self._path(kind)) or b"{}"
        try:
            digest = str(parse_json(data)["digest"])
        except (ValueError, KeyError, TypeError):
            return None
        return digest if hmac.compare_digest(data, self._record(kind, subject, digest)) else None

    def forget(self, folder: Storage, kind: str) -> None:
        """Delete the record of an object that was deleted."""
        folder.delete(self._path(kind))

    def hold(self, folder: Storage, subject: str) -> bool:
        """Claim a folder that nobody holds; return whether this owner holds it."""
        return folder.create(HOLDER, self._held(subject)) or self.holds(folder, subject)

    def holds(self, folder: Storage, subject: str) -> bool:
        """Return whether this owner has claimed a folder."""
        data = _read(folder, HOLDER)
        return data is not None and hmac.compare_digest(data, self._held(subject))

    def _held(self, subject: str) -> bytes:
        return self._signed({"kind": "folder", "owner": self.name, "subject": subject})

    def _path(self, kind: str) -> str:
        return f"{OWNERS}/{self.name}/{kind}.json"

    def _record(self, kind: str, subject: str, digest: str) -> bytes:
        return self._signed({"digest": digest, "kind": kind, "subject": subject})

    def _signed(self, document: Mapping[str, str]) -> bytes:
        return canonical_json({**document, "mac": self._mac(document)})

    def _mac(self, document: Mapping[str, str]) -> str:
        return hmac.new(self.key, _PURPOSE + canonical_json(dict(document)), sha256).hexdigest()


def _read(folder: Storage, path: str) -> bytes | None:
    try:
        return folder.read(path, OWNER_RECORD)
    except (FileNotFoundError, DamagedObject, OversizedObject):
        return None


def read_owner(key: Path) -> Owner:
    """Return the owner of a key file. Raises UserError OwnerKeyUnreadable."""
    try:
        with key.open("rb") as file:
            data = file.read(_MOST_KEY_BYTES + 1)
    except OSError as error:
        raise _unusable(key, (error.strerror or str(error)).lower()) from error
    if len(data) > _MOST_KEY_BYTES:
        raise _unusable(key, f"has more than {_MOST_KEY_BYTES:,} bytes")
    data = data.strip()
    if len(data) < _LEAST_KEY_BYTES:
        raise _unusable(key, f"has {len(data)} bytes, {_LEAST_KEY_BYTES} are the fewest")
    return Owner(key=data)


def user_key(environ: Mapping[str, str]) -> Path:
    """Return the key file of this user, created at the first use and readable by nobody else.

    It is $SEEDBED_OWNER_KEY, else owner.key below $XDG_CONFIG_HOME/seedbed or ~/.config/seedbed, else, where
    that cannot be written, below /var/tmp. Raises UserError OwnerKeyUnreadable.
    """
    if environ.get(KEY_VARIABLE):
        return _created(Path(environ[KEY_VARIABLE]).absolute())
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME') or '~'}/.config"
    try:
        return _created(Path(home).expanduser().absolute() / "seedbed/owner.key")
    except (UserError, RuntimeError):
        return _created(Path(f"/var/tmp/seedbed-{os.geteuid()}/owner.key"))


def _created(file: Path) -> Path:
    """Return the file, with a random key if it is new; UserError where others could read or exchange it."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(file):
            _write_new(file)
        found, folder = file.lstat(), file.parent.stat()
    except OSError as error:
        raise _unusable(file, (error.strerror or str(error)).lower()) from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise _unusable(file, "is not a file that only you can read (chmod 600)")
    open_to_others = folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX
    if folder.st_uid not in (os.geteuid(), 0) or open_to_others:
        raise _unusable(file, "lies in a folder that others can write")
    return file


def _write_new(file: Path) -> None:
    """Write a key under a name of our own, then link it: of two at the same time the first stays."""
    aside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        new.write(secrets.token_hex(_KEY_BYTES).encode())
        new.flush()
        os.fsync(new.fileno())
    try:
        os.link(aside, file)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def _unusable(key: Path, problem: str) -> UserError:
    fix = f"correct it, name another file in {KEY_VARIABLE}, or set spec.output.trust: Store"
    return UserError("OwnerKeyUnreadable", refusal("key of the output's owner", str(key), problem, fix))
