"""Text that may be shown: without what controls a terminal, and with URLs that hold no credentials."""

from __future__ import annotations

import re

_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://([^\s'\"<>`]*)")
_USER = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#\s]*@|[^/?#@\n'\"]*@)")
_WITHOUT_QUERY = frozenset({"file", "local", "pvc"})
"""Schemes of local paths, where a question mark is a letter like any other."""
_ENDS = re.compile(r"[,;:.)\]]+$")


def printable(text: str) -> str:
    """Return text with unprintable and control characters escaped, except newlines and tabs."""
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def on_one_line(text: str) -> str:
    """Return text as one line with all unprintable and control characters escaped."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def without_credentials(text: str) -> str:
    """Return text whose URLs have no user, password, query and fragment; `?…` stands for a query.

    A presigned URL holds its signature in the query.
    """
    if "://" not in text:
        return text
    return _URL.sub(_shown_url, _USER.sub(r"\1", text))


def _shown_url(found: re.Match[str]) -> str:
    scheme, rest = found[1], found[2]
    if scheme.lower() in _WITHOUT_QUERY:
        return found[0]
    place, mark, _ = rest.partition("#")[0].partition("?")
    ending = _ENDS.search(rest)
    lost = mark or "#" in rest
    return f"{scheme}://{place}{'?…' if mark else ''}{ending[0] if ending and lost else ''}"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
