"""One table of error numbers for every store: who can mend it, in one line, and whether a retry helps."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import ssl
from pathlib import Path

import pytest

from seedbed.storage import UnreadableObject, open_storage
from seedbed.storage.remote_errors import translate_error
from seedbed.storage.storage_errors import local_error
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError

READING = {
    "the user's": (
        UnreadableObject,
        ["EACCES", "EPERM", "ELOOP", "ENAMETOOLONG", "EILSEQ", "EINVAL", "ENXIO", "ENODEV", "EOVERFLOW"],
    ),
    "the machine's": (
        InfrastructureError,
        ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENOLCK", "ENOSPC", "EDQUOT"],
    ),
    "reconciler": (
        InfrastructureError,
        ["EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "ECONNRESET", "EHOSTUNREACH", "EINTR", "EBUSY", "EPROTO"],
    ),
}
NUMBERS = [(name, kind) for kind, names in READING.values() for name in names]


def failure(name: str, path: str = "/data/x.png") -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), path)


def one_line(error: Exception, kind: type[SeedbedError], where: str) -> None:
    assert type(error) is kind
    assert where in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(("name", "kind"), NUMBERS)
def test_reading_tells_who_can_mend_it_alike_in_every_store(name: str, kind: type[SeedbedError]) -> None:
    local = local_error(failure(name), shown="file:///data/x.png", writing=False)
    one_line(local, kind, "file:///data/x.png")
    remote = translate_error(failure(name), shown="sftp://host/x.png", keys="the keys", writing=False)
    one_line(remote, kind, "sftp://host/x.png")
    assert (local.exit_code, local.reason) == (remote.exit_code, remote.reason)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EROFS", "EFBIG", "EACCES", "EPERM", "ELOOP", "ENAMETOOLONG"]
)
def test_writing_where_nothing_can_be_written_is_the_users_to_mend(name: str) -> None:
    for error in (
        local_error(failure(name), shown="file:///out", writing=True),
        translate_error(failure(name), shown="sftp://host/out", keys="the keys", writing=True),
    ):
        one_line(error, UserError, "/out")
        assert error.reason == "OutputUnwritable"  # type: ignore[attr-defined]


@pytest.mark.parametrize("writing", [False, True])
def test_a_limit_of_the_machine_is_named_with_what_raises_it(writing: bool) -> None:
    error = local_error(failure("EMFILE"), shown="file:///data/x.png", writing=writing)
    one_line(error, InfrastructureError, "ulimit -n")
    assert "did not answer" not in error.message


def test_a_limit_of_the_machine_below_a_clients_error_is_told_as_such() -> None:
    import aiohttp

    error = aiohttp.ClientOSError(errno.EMFILE, "Too many open files")
    one_line(
        translate_error(error, shown="s3://b/x", keys="", writing=False), InfrastructureError, "ulimit -n"
    )
    wrapped = ConnectionError("cannot connect")
    wrapped.__cause__ = failure("EMFILE")
    one_line(
        translate_error(wrapped, shown="s3://b/x", keys="", writing=False), InfrastructureError, "s3://b/x"
    )


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLError(1, "certificate verify failed"),
        socket.gaierror(-2, "Name or service not known"),
        TimeoutError(),
    ],
    ids=["TLS, whose 1 is no EPERM", "name resolution", "a time-out without a number"],
)
def test_numbers_of_other_tables_are_not_taken_for_the_systems(error: OSError) -> None:
    one_line(
        translate_error(error, shown="https://h/x", keys="the keys", writing=False),
        InfrastructureError,
        "https://h/x",
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [(18, UserError), (20, UserError), (62, UserError), (10, InfrastructureError), (9, InfrastructureError)],
    ids=["self-signed", "unknown authority", "another host", "expired", "not valid yet"],
)
def test_a_certificate_that_no_retry_makes_trusted_is_the_users_to_mend(
    code: int, kind: type[SeedbedError]
) -> None:
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_code, untrusted.verify_message = code, "it is so"
    wrapped = ConnectionError("SSL validation failed")
    wrapped.__cause__ = untrusted
    by_aiohttp = ConnectionError("cannot connect")
    by_aiohttp.certificate_error = untrusted  # type: ignore[attr-defined]
    for error in (untrusted, wrapped, by_aiohttp):
        answer = translate_error(error, shown="https://h/x", keys="the keys", writing=False)
        one_line(answer, kind, "https://h/x")
        assert ("ca.crt" in str(answer)) == (kind is UserError)


class AnswerError(Exception):
    """What a client raises for an answer of the server."""

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(status)
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (AnswerError(403, "AccessDenied"), UnreadableObject),
        (AnswerError(403, "InvalidObjectState"), UnreadableObject),
        (AnswerError(400, "KeyTooLongError"), UnreadableObject),
        (AnswerError(410), UnreadableObject),
        (AnswerError(414), UnreadableObject),
        (AnswerError(401), UserError),
        (AnswerError(403, "SignatureDoesNotMatch"), UserError),
        (AnswerError(400, "ExpiredToken"), UserError),
        (AnswerError(503, "SlowDown"), InfrastructureError),
        (AnswerError(429), InfrastructureError),
    ],
    ids=lambda value: str(getattr(value, "response", value)),
)
def test_an_answer_says_whether_one_object_is_meant_or_the_store(
    answer: AnswerError, kind: type[SeedbedError]
) -> None:
    one_line(translate_error(answer, shown="s3://b/x", keys="the keys", writing=False), kind, "s3://b/x")


def test_an_unreadable_object_survives_a_way_between_processes() -> None:
    error = local_error(failure("ELOOP"), shown="file:///data/x.png", writing=False)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, UnreadableObject)
    assert (copy.reason, copy.message, copy.problem) == (error.reason, error.message, error.problem)  # type: ignore[attr-defined]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


ODD = {
    "a FIFO": (_fifo, "FIFO"),
    "a socket": (_socket, "socket"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "device"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "a link round two corners": (
        lambda path: (path.symlink_to("other"), path.with_name("other").symlink_to(path.name)),
        "symbolic links",
    ),
}


@pytest.mark.parametrize("operation", ["read", "read_range", "size", "exists"])
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file_is_refused_and_never_waited_for(
    name: str, operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, says = ODD[name]
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path("x"))
    arguments = ("x", 0, 1) if operation == "read_range" else ("x",)
    with pytest.raises(UnreadableObject, match=says) as caught:
        getattr(open_storage(str(tmp_path)), operation)(*arguments)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("operation", ["read", "size", "exists", "list", "delete"])
def test_a_name_that_is_too_long_is_the_users_to_mend(operation: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too long") as caught:
        getattr(open_storage(str(tmp_path)), operation)("x" * 300)
    assert "\n" not in caught.value.message


def test_the_schemes_of_local_files_open_the_same_store(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    assert open_storage(f"local://{tmp_path}").read("a") == b"1"
    assert open_storage(f"local://{tmp_path}").url == open_storage(f"file://{tmp_path}").url
