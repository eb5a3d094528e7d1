"""How failures of stores are told: what is the user's to mend, what the machine lacks, and what may pass.

One table of error numbers serves every store: local ones, and remote ones that fail by the system's numbers.
"""

from __future__ import annotations

import errno
from enum import Enum, auto

from seedbed_api.errors import InfrastructureError, SeedbedError, UserError, refusal


class Fault(Enum):
    """Who can mend a failure of the system."""

    DENIED = auto()
    """Access is not allowed: the user's."""
    UNUSABLE = auto()
    """The name, or what stands there, is none that can be read or written: the user's."""
    FULL = auto()
    """The place takes no data: a writer's to mend; a reader, through a cache of the system, may try again."""
    EXHAUSTED = auto()
    """The machine, or a limit of the process, has no more files or memory: a retry may find some."""
    PASSING = auto()
    """A disk, a server or a line failed; also any number that is not listed."""


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


class ShortRead(OSError):  # noqa: N818 - named for what happened, like the other OSErrors
    """An object ended before the range that was asked for."""

    def __init__(self, shown: str, start: int, length: int, got: int) -> None:
        super().__init__(errno.EIO, f"{shown}: {got} of {length} bytes from byte {start}")


class DamagedObject(OSError, ValueError):  # noqa: N818 - as above; a ValueError like other damage to contents
    """The store's own checksum of an object does not match its bytes, at each try."""

    def __init__(self, shown: str) -> None:
        super().__init__(errno.EIO, "the bytes do not match the checksum that the store keeps", shown)


class UnreadableObject(UserError):  # noqa: N818 - as above
    """One object that no retry reads, while others of its store may be fine; `problem` says why."""

    def __init__(self, reason: str, message: str, problem: str) -> None:
        super().__init__(reason, message)
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason, self.message, self.problem))


def fault_of(error: OSError) -> Fault:
    """Classify a failure of the system by its error number."""
    return _FAULT_OF.get(error.errno or 0, Fault.PASSING)


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


def exhausted(shown: str, error: OSError) -> InfrastructureError:
    """Return the error of a machine that has no more of what it takes to read or write."""
    fix = _LIMITS.get(error.errno or 0, "end other programs")
    line = f"{shown}: this machine fails: {_problem(error)}; {fix}, and try again"
    return InfrastructureError("StorageUnavailable", line)


def denied(shown: str, problem: str, keys: str) -> UserError:
    """Return the error of a store that says no, or does not know us; `keys` names what to check."""
    return UserError("StorageDenied", refusal("uri", shown, problem, f"check {keys}"))


def object_denied(shown: str, problem: str, keys: str) -> UnreadableObject:
    """Return the error of one object that a store does not let us read; `keys` names what to check."""
    message = refusal("uri", shown, problem, f"check {keys}")
    return UnreadableObject("StorageDenied", message, f"{problem}; check {keys}")


def unreadable(shown: str, problem: str, fix: str) -> UnreadableObject:
    """Return the error of one object whose name or kind no store can read."""
    return UnreadableObject("StorageRefused", refusal("uri", shown, problem, fix), f"{problem}; {fix}")


def system_error(error: OSError, *, shown: str, writing: bool, keys: str) -> SeedbedError:
    """Tell a failure that carries an error number of the system; `keys` names what decides about access."""
    fault, problem = fault_of(error), _problem(error)
    if fault is Fault.EXHAUSTED or (fault is Fault.FULL and not writing):
        return exhausted(shown, error)
    if fault is Fault.PASSING:
        return unavailable(shown, problem)
    if writing:
        return unwritable(shown, problem)
    if fault is Fault.DENIED:
        return object_denied(shown, problem, keys)
    return unreadable(shown, problem, _FIXES.get(error.errno or 0, "mend or remove it"))


def local_error(error: OSError, *, shown: str, writing: bool) -> SeedbedError:
    """Tell a failure of the local file system."""
    return system_error(error, shown=shown, writing=writing, keys="the owner and the mode of the file")


def _problem(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
