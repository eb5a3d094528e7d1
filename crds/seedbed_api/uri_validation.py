"""Rules on URLs in specs: none leads out of its folder or holds a credential."""

from __future__ import annotations

import re
from dataclasses import replace

from seedbed_api.base_model import Rule

_ASCENDING = r"^[A-Za-z][A-Za-z0-9+.-]*://.*(/|%2[fF]|[\\])([.]|%2[eE])([.]|%2[eE])(/|%2[fF]|[\\]|[?]|#|$)"
_WITH_USER = "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@"
_CLAIM = r"^pvc://([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)(/.*)?$"


def claim_of(uri: str) -> str | None:
    """Return the claim of a URL pvc://claim/path; None for any other URL or path."""
    found = re.fullmatch(_CLAIM, uri)
    return found[1] if found else None


URI_RULES = (
    Rule(
        field="uri",
        cel=f"!self.uri.matches('{_ASCENDING}')".replace("\\", "\\\\"),
        holds=lambda block: re.search(_ASCENDING, block.uri) is None,
        problem="must not have .. in a URL",
        fix="write the folder that is meant",
    ),
    Rule(
        field="uri",
        cel=f"!self.uri.matches('{_WITH_USER}')",
        holds=lambda block: re.search(_WITH_USER, block.uri) is None,
        problem="must not hold a user or password",
        fix="put credentials into a Secret and name it in secretRef",
    ),
    Rule(
        field="uri",
        cel=f"!self.uri.startsWith('pvc://') || self.uri.matches('{_CLAIM}')",
        holds=lambda block: not block.uri.startswith("pvc://") or claim_of(block.uri) is not None,
        problem="must name a claim after pvc://",
        fix="write for example pvc://claim/folder",
    ),
)
"""Rules of every block with a field `uri` of a spec."""


def where_present(rule: Rule) -> Rule:
    """Return a rule on `uri` for a block in which it may be left out."""
    return replace(
        rule,
        cel=f"!has(self.uri) || {rule.cel}",
        holds=lambda block: block.uri is None or rule.holds(block),
    )
