"""What may be shown: no code that controls a terminal, no credential of a URL, in errors of every kind."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_api.conditions import one_line
from seedbed_api.errors import LONGEST_LINE, InfrastructureError, UserError, refusal
from seedbed_api.printable_text import on_one_line, printable, without_credentials

SHOWN = {
    "s3://bucket/a": "s3://bucket/a",
    "https://user:canary@host/a": "https://host/a",
    "https://canary@host:8443/a": "https://host:8443/a",
    "https://user:can@ary@host/a": "https://host/a",
    "https://user:canary with blanks@host/a": "https://host/a",
    "https://host/a?X-Amz-Signature=canary": "https://host/a?…",
    "https://host/a#canary": "https://host/a",
    "https://host/a?x=1#canary": "https://host/a?…",
    "https://host?canary": "https://host?…",
    "HTTPS://U:canary@HOST/A?B": "HTTPS://HOST/A?…",
    "a 's3://b/c?canary'; then": "a 's3://b/c?…'; then",
    "url='http://h/a?canary', other": "url='http://h/a?…', other",
    "from http://h/a?canary: 403": "from http://h/a?…: 403",
    "(http://a:canary@h/x) (http://b:canary@h/y)": "(http://h/x) (http://h/y)",
    "write for example https://name/folder, or": "write for example https://name/folder, or",
    "file:///a/what?.png": "file:///a/what?.png",
    "pvc://claim/a?b": "pvc://claim/a?b",
    "a@b.c and 1 ? 2": "a@b.c and 1 ? 2",
    "": "",
}


@pytest.mark.parametrize("text", SHOWN)
def test_urls_lose_user_query_and_fragment(text: str) -> None:
    assert without_credentials(text) == SHOWN[text]
    assert without_credentials(SHOWN[text]) == SHOWN[text]


@pytest.mark.parametrize("kind", [UserError, InfrastructureError])
@pytest.mark.parametrize(
    "url",
    [
        "https://user:canary@host/a",
        "https://user:can'ary\"canary@host/a",
        "https://u:canary/canary@host",
        "s3://bucket/a?token=canary",
        "http://[::1/?canary",
        "https://host/" + "a" * 200 + "?sig=canary",
    ],
)
def test_no_error_shows_a_credential(kind: type[UserError | InfrastructureError], url: str) -> None:
    for message in (refusal("uri", url, "is wrong", "correct it"), f"{url}: the store did not answer"):
        error = kind("StorageRefused", message)
        assert "canary" not in refusal("uri", url, "is wrong", "correct it") or "/canary@" in url
        assert "sig=" not in f"{error} {error.message} {error.args} {error!r}"
        assert pickle.loads(pickle.dumps(error)).message == error.message


@pytest.mark.parametrize("kind", [UserError, InfrastructureError])
def test_no_line_of_an_error_is_longer_than_anybody_reads(
    kind: type[UserError | InfrastructureError],
) -> None:
    error = kind("ReceiptTampered", f"runs/receipt.json: {'x' * 5_000}; restore it\nthe next line")
    first, second = error.message.splitlines()
    assert (len(first), second) == (LONGEST_LINE - 1, "the next line")
    assert first.startswith("runs/receipt.json: xx")
    assert first.endswith("xx; restore it")
    assert pickle.loads(pickle.dumps(error)).message == error.message


CODES = {
    "colour": "\x1b[31mred\x1b[0m",
    "window title": "\x1b]0;owned\x07",
    "cursor": "a\x1b[1A\x1b[2Kb",
    "carriage return": "good\rbad",
    "backspace": "bad\b\b\bgood",
    "C1": "a\x9b31mb",
    "bidi override": "a\u202egpj.exe",
    "isolate": "a\u2066b\u2069",
    "zero width": "a\u200bb\ufeff",
    "tag": "a\U000e0041b",
    "null": "a\0b",
    "line separator": "a\u2028b\x85c",
    "surrogate": "a\udc80b",
}


@pytest.mark.parametrize("name", CODES)
def test_codes_that_control_a_terminal_are_escaped(name: str) -> None:
    for shown in (printable(CODES[name]), on_one_line(CODES[name]), one_line(CODES[name])):
        assert shown.isprintable()
        shown.encode()


@given(st.text())
def test_any_text_becomes_printable(text: str) -> None:
    assert on_one_line(text).isprintable()
    assert printable(text).replace("\n", "").replace("\t", "").isprintable()


def test_letters_of_all_languages_stay() -> None:
    assert on_one_line("größe 猫 кот قطة ✓ …") == "größe 猫 кот قطة ✓ …"


def test_a_condition_holds_neither() -> None:
    assert one_line("failed\n at \x1b[2J https://u:canary@h/a?canary") == r"failed at \x1b[2J https://h/a?…"
