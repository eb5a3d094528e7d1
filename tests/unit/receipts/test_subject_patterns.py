"""Subjects of identities: a pattern stands for one part between the separators, and for nothing beyond it."""

from __future__ import annotations

import pytest

from seedbed_api.accepted_signers import AcceptedIdentity

ISSUER = "https://issuer.example"
GITHUB = "https://github.com/acme/model/.github/workflows/train.yml@refs/heads/main"
MATCHES: list[tuple[str, str, bool]] = [
    (GITHUB, GITHUB, True),
    (GITHUB.replace("model", "*"), GITHUB, True),
    (GITHUB.replace("train.yml", "*"), GITHUB, True),
    (GITHUB.replace("main", "*"), GITHUB, True),
    (GITHUB.replace("main", "*"), GITHUB.replace("main", "feature/x"), False),
    ("https://github.com/acme/*@refs/heads/main", GITHUB, False),
    # a branch may be called x@refs/heads/main
    (GITHUB.replace("train.yml", "*"), GITHUB.replace("refs/heads/main", "refs/heads/x@refs/heads/main"), False),
    (GITHUB.replace("train", "*"), GITHUB.replace("train.yml@refs/heads/main", "a.yml@refs/heads/train.yml@refs/heads/main"), False),
    (GITHUB, GITHUB + "x", False),
    (GITHUB, "x" + GITHUB, False),
    (GITHUB, GITHUB.upper(), False),
    (GITHUB, GITHUB.replace(".yml", "xyml"), False),
    (GITHUB, GITHUB + "\n", False),
    ("*@example.com", "anna@example.com", True),
    ("*@example.com", "anna@example.com.evil", False),
    ("*@example.com", "anna@evil@example.com", False),
    ("*@example.com", "https://evil/anna@example.com", False),
    ("anna*@example.com", "anna@example.com", True),
    ("spiffe://*/ns/vision/sa/trainer", "spiffe://cluster.local/ns/vision/sa/trainer", True),
    ("spiffe://*/ns/vision/sa/trainer", "spiffe://cluster.local/x/ns/vision/sa/trainer", False),
    ("a*b*c", "axbxbxc", True),
    ("a*b*b", "axb", False),
    ("a**c", "abc", True),
    ("a[b]?c", "ab?c", False),
    ("a.c", "abc", False),
    ("a*", "a\nb", False),
    ("a*", "a b", False),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "subject", "counts"), MATCHES)
def test_a_pattern_matches_no_more_than_it_says(pattern: str, subject: str, counts: bool) -> None:
    entry = AcceptedIdentity(issuer=ISSUER, subject=pattern, trustedRoot="x")
    assert entry.accepts(ISSUER, subject) == counts
    assert not entry.accepts(f"{ISSUER}/", subject)


def test_many_stars_take_no_longer_than_one() -> None:
    entry = AcceptedIdentity(issuer=ISSUER, subject="a*" * 250 + "b", trustedRoot="x")
    assert not entry.accepts(ISSUER, "a" * 2048)  # with backtracking, longer than the universe exists
