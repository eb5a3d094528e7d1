"""The option --network-policy: `none`, `default`, or the rules as JSON."""

from __future__ import annotations

from typing import Any, Final

from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json
from seedbed_operator.backends.network_policy import NetworkRules

OPTION: Final = "--network-policy"
DEFAULT, NONE = "default", "none"


def parse_network_rules(text: str) -> NetworkRules | None:
    """Return the rules; None where no policies are made. Raises UserError InvalidOption."""
    if text in (DEFAULT, NONE):
        return NetworkRules() if text == DEFAULT else None
    try:
        given = parse_json(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or given.keys() != {"ingress", "egress"}:
        raise _refused(text, "must be default, none, or a JSON object with the lists ingress and egress")
    return NetworkRules(ingress=_rules(given, "ingress"), egress=_rules(given, "egress"))


def _rules(given: dict[str, Any], name: str) -> tuple[dict[str, Any], ...]:
    rules = given[name]
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise _refused(rules, f"must have a list of rules in {name}, as in a NetworkPolicy")
    return tuple(rules)


def _refused(value: object, problem: str) -> UserError:
    fix = "correct it, or leave it out"
    return UserError("InvalidOption", refusal(OPTION, value, problem, fix))
