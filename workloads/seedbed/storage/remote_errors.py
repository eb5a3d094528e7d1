"""Errors of remote stores, translated: object missing, object exists, access denied, refused, or retry."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Iterator
from ssl import SSLCertVerificationError, SSLError
from typing import Any

from seedbed.storage.secret_folder import CERTIFICATE
from seedbed.storage.storage_errors import (
    DamagedObject,
    Fault,
    ShortRead,
    denied,
    fault_of,
    object_denied,
    system_error,
    unavailable,
    unreadable,
    unwritable,
)
from seedbed_api.errors import SeedbedError, UserError, refusal

_CLIENTS = (
    "aiohttp",
    "aiobotocore",
    "azure",
    "botocore",
    "fsspec",
    "google",
    "requests",
    "s3fs",
    "ssl",
    "urllib3",
)
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
_NOT_OURS = frozenset(
    {
        "AuthenticationFailed",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidToken",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
    }
)
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"})
_NO_URL = frozenset({"InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError"})
_TRANSIENT = frozenset({408, 409, 425, 429})
_OUT_OF_DATE = frozenset({9, 10})
"""OpenSSL's codes of certificates that are not valid yet or have expired: a retry may find a new one."""
_OF_ONE_OBJECT = frozenset({410, 414, 451, "KeyTooLongError"})


def translate_error(error: Exception, *, shown: str, keys: str, writing: bool) -> Exception:
    """Return the error to raise instead of one of fsspec; an unknown one (a defect) is returned as it is."""
    if isinstance(error, SeedbedError):
        return error
    refused = next((cause for cause in _causes(error) if type(cause).__name__ == "RefusedPlace"), None)
    if refused is not None:
        return _refused_place(str(refused), shown)
    origin = _root_error(error)
    status, code = _status(origin), _code(origin)
    if status is not None:
        return _status_error(status, code, shown=shown, keys=keys, writing=writing)
    if isinstance(error, FileExistsError) or isinstance(origin, FileExistsError):
        return FileExistsError(17, "object exists", shown)
    if isinstance(origin, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return FileNotFoundError(2, "no such object", shown)
    if type(origin).__name__ in _NO_CREDENTIALS:
        return denied(shown, "access denied", keys)
    numbered = _system_cause(origin)
    if numbered is not None and fault_of(numbered) is not Fault.TRANSIENT:
        return system_error(numbered, shown=shown, writing=writing, keys=keys)
    return _transport_error(origin, shown)


def _system_cause(error: Exception) -> OSError | None:
    """Return the OSError with a meaningful errno: the error itself, or a cause of it on this machine.

    Clients raise OSErrors for broken connections whose errno has other meanings.
    """
    if isinstance(error, OSError) and not _raised_by_client(error):
        named = isinstance(error, PermissionError) and error.errno is None
        return PermissionError(errno.EACCES, str(error) or "access denied") if named else error
    causes: Iterator[BaseException] = _causes(error)
    lacks = (cause for cause in causes if isinstance(cause, OSError) and not isinstance(cause, SSLError))
    return next((cause for cause in lacks if fault_of(cause) is Fault.EXHAUSTED), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _root_error(error: Exception) -> Exception:
    """Return the error of connection or server that fsspec wrapped, perhaps as a missing file."""
    cause = error.__cause__
    return (
        cause
        if isinstance(cause, Exception) and (isinstance(cause, OSError) or _raised_by_client(cause))
        else error
    )


def _raised_by_client(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in _CLIENTS


def _status_error(status: int, code: str, *, shown: str, keys: str, writing: bool) -> Exception:
    if code == "NoSuchBucket":
        fix = "create the bucket or correct its name"
        return UserError("StorageNotFound", refusal("uri", shown, "there is no such bucket", fix))
    if status in {401, 403} or code in _NOT_OURS:
        known = status == 403 and code not in _NOT_OURS and not writing
        return (object_denied if known else denied)(shown, f"access denied ({code or status})", keys)
    if status == 404:
        return FileNotFoundError(2, "no such object", shown)
    if status == 412:
        return FileExistsError(17, "object exists", shown)
    if status == 416:
        return ShortRead(shown, 0, 0, 0)
    if writing and (status == 507 or code in _FULL):
        return unwritable(shown, f"the store is full ({code or status})")
    if status >= 500 or status in _TRANSIENT:
        return unavailable(shown, f"status {status} {code}")
    return _refused_error(status, code, shown)


def _refused_error(status: int, code: str, shown: str) -> UserError:
    problem = f"refused: {status} {code}".strip()
    if status in _OF_ONE_OBJECT or code in _OF_ONE_OBJECT:
        return unreadable(shown, problem, "check its name")
    return UserError("StorageRefused", refusal("uri", shown, problem, "check the URL"))


def _transport_error(origin: Exception, shown: str) -> Exception:
    if type(origin).__name__ == "FlexibleChecksumError":
        return DamagedObject(shown)
    below = (getattr(cause, "certificate_error", cause) for cause in _causes(origin))  # aiohttp wraps it
    untrusted = next((cause for cause in below if isinstance(cause, SSLCertVerificationError)), None)
    if untrusted is not None and getattr(untrusted, "verify_code", 0) not in _OUT_OF_DATE:
        return _certificate_error(shown, untrusted)
    if type(origin).__name__ == "ParamValidationError":
        return _url_error(shown, str(origin).partition("failed:")[2].partition(": Bucket")[0])
    if type(origin).__name__ in _NO_URL:
        return _url_error(shown, "it is no URL")
    if _raised_by_client(origin) or isinstance(origin, (OSError, asyncio.TimeoutError, TimeoutError)):
        return unavailable(shown, f"{type(origin).__name__}: {origin}")
    return _url_error(shown, str(origin)) if isinstance(origin, ValueError) else origin


def _refused_place(problem: str, shown: str) -> UserError:
    fix = "name the place where the data lies"
    if "allowedURIPrefixes" in problem:
        fix += ", or ask the administrator to allow where the server redirects to"
    return UserError("StorageRefused", refusal("uri", shown, problem, fix))


def _certificate_error(shown: str, error: SSLCertVerificationError) -> UserError:
    problem = f"its certificate is not trusted: {getattr(error, 'verify_message', '') or error}"
    fix = f"put the certificate of its authority into the secret as {CERTIFICATE}, or correct the address"
    return UserError("StorageRefused", refusal("uri", shown, " ".join(problem.split()), fix))


def _url_error(shown: str, problem: str) -> UserError:
    fix = "correct the URL or the endpoint"
    problem = re.sub(
        r"\"[^\"]*@", '"', " ".join(problem.split())
    )  # botocore takes user and password for the bucket
    return UserError("InvalidStorageURL", refusal("uri", shown, problem, fix))


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return int(status) if status is not None else None
    status = getattr(error, "status", None)
    return status if isinstance(status, int) and status >= 400 else None


def _code(error: BaseException) -> str:
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return str(getattr(error, "code", "")) if isinstance(error, OSError) else ""
    code = str(response.get("Error", {}).get("Code", ""))
    return "" if code.isdigit() else code
