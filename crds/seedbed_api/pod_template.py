"""Labels, annotations and environment variables that may be added to pods, and the reserved ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from seedbed_api.base_model import Block, Rule
from seedbed_api.bounded_lists import BoundedList, ListRule
from seedbed_api.bounded_maps import BoundedMap
from seedbed_api.scalar_types import Matches, text

RESERVED_KEYS = (
    "seedbed.dev/",
    "app.kubernetes.io/",
    "kubernetes.io/",
    "cluster-autoscaler.kubernetes.io/",
    "container.apparmor.security.beta.kubernetes.io/",
)
"""Prefixes of labels and annotations of the operator, and of those that change what a pod may do."""

RESERVED_VARIABLES = (
    "^(PATH|HOME|SHELL|ENV|BASH_ENV|IFS|TMPDIR|HOSTNAME|POD_.*|KUBERNETES_.*|SEEDBED_.*|RAY_.*|AWS_.*|FSSPEC_.*"
    "|LD_.*|GLIBC_.*|MALLOC_.*|GCONV_PATH|LOCPATH|LOCALDOMAIN|HOSTALIASES|RES_OPTIONS|PYTHON.*|PYTORCH_.*|TORCH.*"
    "|GOOGLE_APPLICATION_CREDENTIALS|GCE_METADATA_.*|STORAGE_EMULATOR_HOST|AZURE_.*|HADOOP_.*|WEBHDFS_.*"
    "|ATEN_.*|ONEDNN_.*|DNNL_.*|MKL_.*|OMP_.*|GOMP_.*|KMP_.*|OPENBLAS_.*|CUDA_.*|CUBLAS_.*|CUDNN_.*|NVIDIA_.*"
    "|GLOO_.*)$"
)
"""Variables of the operator, and those that hold credentials, load code, or decide about bits."""

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_LONGEST_KEY = 253 + 1 + 63


def is_reserved_key(key: str) -> bool:
    """Return whether only the operator may set a label or annotation."""
    return key.startswith(RESERVED_KEYS)


def is_reserved_variable(name: str) -> bool:
    """Return whether only the operator may set an environment variable."""
    return re.fullmatch(RESERVED_VARIABLES, name) is not None


def _none_reserved(keys: Sequence[Any]) -> bool:
    return not any(map(is_reserved_key, keys))


_UNRESERVED = " && ".join(f"!k.startsWith('{beginning}')" for beginning in RESERVED_KEYS)
_RESERVED_KEY = ListRule(
    cel=f"self.all(k, {_UNRESERVED})",
    holds=_none_reserved,
    problem="must not have keys of seedbed.dev, app.kubernetes.io, kubernetes.io, autoscaler or AppArmor",
    fix="use a domain of your own",
)
_LONG_KEY = ListRule(
    cel=f"self.all(k, size(k) <= {_LONGEST_KEY})",
    holds=lambda keys: all(len(key) <= _LONGEST_KEY for key in keys),
    problem=f"must have keys of at most {_LONGEST_KEY} characters",
    fix="shorten them",
)
_KEYS = BoundedMap(
    most=32,
    pattern=f"^({_DOMAIN}/)?{_NAME}$",
    problem="must have keys like those of labels: a name, or a domain, a slash and a name",
    fix="write for example example.org/team",
    rules=(_LONG_KEY, _RESERVED_KEY),
)
LabelValue = Annotated[
    str,
    Matches(
        f"^({_NAME})?$",
        63,
        "must be the value of a label: letters, digits, and inside of it dashes, underscores and dots",
        "use only such characters",
    ),
]
PodLabels = Annotated[dict[str, LabelValue], _KEYS]
PodAnnotations = Annotated[dict[str, Annotated[str, text(4096)]], _KEYS]

AllowedKey = Annotated[
    str,
    Matches(
        f"^({_DOMAIN}/({_NAME})?|{_NAME})$",
        _LONGEST_KEY,
        "must be the key of a label, or a domain that ends in a slash",
        "write for example example.org/team, or example.org/ for all keys of that domain",
    ),
]
AllowedKeys = Annotated[
    tuple[AllowedKey, ...], BoundedList(most=64, unique=True, ordered=False, rules=(_RESERVED_KEY,))
]

VariableName = Annotated[
    str,
    Matches(
        r"^[A-Za-z_][A-Za-z0-9_]*$",
        128,
        "must be the name of a variable: letters, digits and underscores, no digit first",
        "rename it",
    ),
]
_RESERVED_NAME = (
    "names a variable that only the operator sets, or that decides about code, credentials or bits"
)
AllowedVariables = Annotated[
    tuple[VariableName, ...],
    BoundedList(
        most=64,
        unique=True,
        ordered=False,
        rules=(
            ListRule(
                cel=f"self.all(name, !name.matches('{RESERVED_VARIABLES}'))",
                holds=lambda names: not any(map(is_reserved_variable, names)),
                problem=_RESERVED_NAME,
                fix="remove it",
            ),
        ),
    ),
]


class EnvVar(Block):
    """An environment variable of the containers. Its value is taken as it stands: $(NAME) is not replaced."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="name",
            cel=f"!self.name.matches('{RESERVED_VARIABLES}')",
            holds=lambda variable: not is_reserved_variable(variable.name),
            problem=_RESERVED_NAME,
            fix="remove it",
        ),
    )

    name: VariableName
    """Name. Names that the operator sets, or that affect code, credentials or bits, are rejected (PATH,
    LD_*, PYTHON*, RAY_*, SEEDBED_*, AWS_*, CUDA_* and similar)."""
    value: Annotated[
        str,
        Matches(
            r"^[^\x00-\x1f\x7f]*$",
            1024,
            "must not have control characters",
            "remove line breaks and the like",
        ),
    ]
    """Value; nothing in it is expanded."""


Variables = Annotated[tuple[EnvVar, ...], BoundedList(most=32, key="name", ordered=False)]
