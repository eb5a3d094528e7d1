"""Cases of `spec.model.weights` for the table of manifests that the models and the API server judge alike."""

from __future__ import annotations

from support.manifests.base_manifests import DIGEST, Case

WEIGHTS_CASES: dict[str, Case] = {
    "weights of a file": Case(
        change={
            "spec.model.weights": {
                "uri": "s3://models/w.pt",
                "digest": DIGEST,
                "exclude": ["fc.*"],
                "rename": [{"match": "module.*", "to": "*"}, {"match": "a", "to": "b"}],
                "strict": False,
            }
        }
    ),
    "weights of a run": Case(change={"spec.model.weights": {"run": "0123abcd"}}),
    "weights of a whole run identity": Case(change={"spec.model.weights": {"run": DIGEST}}),
    "weights of nothing": Case(
        change={"spec.model.weights": {"digest": DIGEST}},
        line="spec.model.weights: must have exactly one of uri and run",
        server="must have exactly one of uri and run",
    ),
    "weights of a file and a run": Case(
        change={"spec.model.weights": {"uri": "s3://models/w.pt", "run": "0123abcd"}},
        line="spec.model.weights: must have exactly one of uri and run",
        server="must have exactly one of uri and run",
    ),
    "weights of a short run": Case(
        change={"spec.model.weights": {"run": "0123"}},
        line="spec.model.weights.run: must be a run identity, or its first 8 or more digits",
    ),
    "weights outside of their folder": Case(
        change={"spec.model.weights": {"uri": "s3://models/../w.pt"}},
        line="spec.model.weights.uri: must not have .. in a URL",
        server="must not have .. in a URL",
    ),
    "weights with a password": Case(
        change={"spec.model.weights": {"uri": "https://me:secret@host/w.pt"}},
        line="spec.model.weights.uri: must not hold a user or password",
        server="must not hold a user or password",
    ),
    "a new name without a star": Case(
        change={"spec.model.weights": {"run": "0123abcd", "rename": [{"match": "module.*", "to": "all"}]}},
        line="spec.model.weights.rename[0].to: must have a * where match has one, and none where it has none",
        server="must have a * where match has one",
    ),
    "a new name with two stars": Case(
        change={"spec.model.weights": {"run": "0123abcd", "rename": [{"match": "*.*", "to": "*"}]}},
        line="spec.model.weights.rename[0].match: must be a name of tensors with at most one *",
    ),
}
