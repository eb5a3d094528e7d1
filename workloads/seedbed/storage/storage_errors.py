"""Errors of stores: which the user must fix, which this machine causes, and which a retry may solve.

One table of errno values serves all stores: local ones, and remote ones that fail with an errno.
"""

from __future__ import annotations

import errno
from enum import Enum, auto

from seedbed.storage.object_limits import ObjectLimit
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal


class Fault(Enum):
    """What kind of failure an errno stands for, and who can fix it."""

    DENIED = auto()
    """Access is not allowed. The user can fix it."""
    UNUSABLE = auto()
    """The name, or the kind of file, cannot be read or written. The user can fix it."""
    FULL = auto()
    """The disk or quota is full. A writer must make room; a reader may try again."""
    EXHAUSTED = auto()
    """The process or machine has no file handles or memory left. A retry may succeed."""
    TRANSIENT = auto()
    """A disk, a server or a connection failed; also any errno that is not listed."""


_FAULTS = {
    Fault.DENIED: ("EACCES", "EPERM", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED"),
    Fault.UNUSABLE: (
        *(
            "EEXIST",
            "EFBIG",
            "EILSEQ",
            "EINVAL",
            "EISDIR",
            "ELOOP",
            "EMLINK",
            "ENAMETOOLONG",
            "ENODEV",
            "ENOENT",
        ),
        *("ENOTDIR", "ENXIO", "EOPNOTSUPP", "EOVERFLOW"),
    ),
    Fault.FULL: ("EDQUOT", "ENOSPC", "EROFS"),
    Fault.EXHAUSTED: ("EMFILE", "ENFILE", "ENOBUFS", "ENOLCK", "ENOMEM", "EUSERS"),
}
_FAULT_OF = {
    getattr(errno, name): fault for fault, names in _FAULTS.items() for name in names if hasattr(errno, name)
}
_FIXES = {
    errno.ELOOP: "remove the link, or point it at a file",
    errno.ENAMETOOLONG: "give a shorter name",
}
_LIMITS = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOMEM: "free memory",
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space",
}


class ShortRead(OSError):  # noqa: N818 - named like the OSErrors of Python
    """An object ended before the range that was asked for."""

    def __init__(self, shown: str, start: int, length: int, got: int) -> None:
        super().__init__(errno.EIO, f"{shown}: {got} of {length} bytes from byte {start}")


class DamagedObject(OSError, ValueError):  # noqa: N818 - as above; a ValueError like other damage to contents
    """The store's own checksum of an object does not match its bytes, at each try."""

    def __init__(self, shown: str) -> None:
        super().__init__(errno.EIO, "the bytes do not match the checksum in the store", shown)


class UnreadableObject(UserError):  # noqa: N818 - as above
    """An object that no retry can read; other objects of the store may be readable. `problem` says why."""

    def __init__(self, reason: str, message: str, problem: str) -> None:
        super().__init__(reason, message)
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason, self.message, self.problem))


class OversizedObject(UnreadableObject, ValueError):  # noqa: N818 - as above
    """An object that is larger than its kind may be; a ValueError like other damage to contents."""

    def __init__(self, shown: str, size: int | None, limit: ObjectLimit) -> None:
        has = f"more than {limit.most_bytes:,}" if size is None else f"{size:,}"
        problem = f"has {has} bytes, {limit.kind} has at most {limit.most_bytes:,}"
        fix = "restore it from a copy, or remove it"
        super().__init__("ObjectTooLarge", refusal("uri", shown, problem, fix), f"it {problem}")
        self.size = size
        self._arguments = (shown, size, limit)

    def __str__(self) -> str:
        """Return the problem alone, for those who name the object themselves."""
        return self.problem

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), self._arguments)


def fault_of(error: OSError) -> Fault:
    """Classify a failure by its errno."""
    return _FAULT_OF.get(error.errno or 0, Fault.TRANSIENT)


def require_full_range(data: bytes, *, shown: str, start: int, length: int) -> bytes:
    """Return `data` if it is as long as the range asked for."""
    if len(data) < length:
        raise ShortRead(shown, start, length, len(data))
    return data


def unwritable(shown: str, problem: str) -> UserError:
    """Return the error of a place that cannot be written until the user fixes it."""
    fix = "free space or name a folder that can be written"
    return UserError("OutputUnwritable", refusal("output.uri", shown, problem, fix))


def unavailable(shown: str, error: object) -> InfrastructureError:
    """Return the error of a store that did not answer, or answered with an error of its own."""
    text = " ".join(str(error).split()) or type(error).__name__
    line = f"{shown}: the store did not answer: {text[:300]}; try again, or check the address"
    return InfrastructureError("StorageUnavailable", line)


def exhausted(shown: str, error: OSError) -> InfrastructureError:
    """Return the error of a machine that lacks memory, file handles or space."""
    fix = _LIMITS.get(error.errno or 0, "end other programs")
    line = f"{shown}: this machine fails: {_problem(error)}; {fix}, and try again"
    return InfrastructureError("StorageUnavailable", line)


def denied(shown: str, problem: str, keys: str) -> UserError:
    """Return the error of a store that denies access; `keys` names the credentials to check."""
    return UserError("StorageDenied", refusal("uri", shown, problem, f"check {keys}"))


def object_denied(shown: str, problem: str, keys: str) -> UnreadableObject:
    """Return the error of one object whose access is denied; `keys` names the credentials to check."""
    message = refusal("uri", shown, problem, f"check {keys}")
    return UnreadableObject("StorageDenied", message, f"{problem}; check {keys}")


def unreadable(shown: str, problem: str, fix: str) -> UnreadableObject:
    """Return the error of one object that cannot be read because of its name or kind."""
    return UnreadableObject("StorageRefused", refusal("uri", shown, problem, fix), f"{problem}; {fix}")


def linked(shown: str, link: str, *, writing: bool) -> UserError:
    """Return the error of an object below a symbolic link, in a place where none is followed."""
    problem = f"{link!r} is a symbolic link, which is not followed here"
    fix = "put the folder or file itself in its place, or name the folder that it leads to"
    if writing:
        return UserError("OutputUnwritable", refusal("output.uri", shown, problem, fix))
    return unreadable(shown, problem, fix)


def system_error(error: OSError, *, shown: str, writing: bool, keys: str) -> SeedbedError:
    """Translate a failure with an errno; `keys` names what decides about access."""
    fault, problem = fault_of(error), _problem(error)
    if fault is Fault.EXHAUSTED or (fault is Fault.FULL and not writing):
        return exhausted(shown, error)
    if fault is Fault.TRANSIENT:
        return unavailable(shown, problem)
    if writing:
        return unwritable(shown, problem)
    if fault is Fault.DENIED:
        return object_denied(shown, problem, keys)
    return unreadable(shown, problem, _FIXES.get(error.errno or 0, "repair or remove it"))


def local_error(error: OSError, *, shown: str, writing: bool) -> SeedbedError:
    """Translate a failure of the local file system."""
    return system_error(error, shown=shown, writing=writing, keys="the owner and the mode of the file")


def _problem(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
