"""How failures of stores are told: denied and full are the user's to mend, time-outs and 5xx may pass."""

from __future__ import annotations

import errno

from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal

NOT_WRITABLE = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EFBIG,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
    }
)


class ShortRead(OSError):  # noqa: N818 - named for what happened, like the other OSErrors
    """An object ended before the range that was asked for."""

    def __init__(self, shown: str, start: int, length: int, got: int) -> None:
        super().__init__(errno.EIO, f"{shown}: {got} of {length} bytes from byte {start}")


class DamagedObject(OSError, ValueError):  # noqa: N818 - as above; a ValueError like other damage to contents
    """The store's own checksum of an object does not match its bytes, at each try."""

    def __init__(self, shown: str) -> None:
        super().__init__(errno.EIO, "the bytes do not match the checksum that the store keeps", shown)


def short_read_checked(data: bytes, *, shown: str, start: int, length: int) -> bytes:
    """Return `data` if it is as long as the range asked for."""
    if len(data) < length:
        raise ShortRead(shown, start, length, len(data))
    return data


def unwritable(shown: str, problem: str) -> UserError:
    """Return the error of a place that takes no data until somebody mends it."""
    fix = "free space or name a folder that can be written"
    return UserError("OutputUnwritable", refusal("output.uri", shown, problem, fix))


def unavailable(shown: str, error: object) -> InfrastructureError:
    """Return the error of a store that did not answer, or answered with a fault of its own."""
    text = " ".join(str(error).split()) or type(error).__name__
    line = f"{shown}: the store did not answer: {text[:300]}; try again, or check the address"
    return InfrastructureError("StorageUnavailable", line)


def denied(shown: str, problem: str, keys: str) -> UserError:
    """Return the error of a store that says no, or does not know us; `keys` names what to check."""
    return UserError("StorageDenied", refusal("uri", shown, problem, f"check {keys}"))


def of_local(error: OSError, *, shown: str, writing: bool) -> SeedbedError:
    """Tell a failure of the local file system."""
    problem = (error.strerror or str(error)).lower()
    if writing and error.errno in NOT_WRITABLE:
        return unwritable(shown, problem)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return denied(shown, problem, "the owner and the mode of the file")
    return unavailable(shown, problem)
