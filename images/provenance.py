"""Write where an image came from: an in-toto Statement with an SLSA Provenance v1 predicate, unsigned.

Who releases the image signs it (docs/security.md): a signature made by the machine that builds proves nothing
more than the file.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

BUILD_TYPE = "https://seedbed.dev/image/v1"
BUILDER_ID = "https://seedbed.dev/builders/images-build-py/v1"


def provenance(
    name: str, *, digest: str, repository: Path, files: Sequence[Path], packages: Iterable[str]
) -> str:
    """Return the Statement of an image: built from these files of the repository and these package URLs."""
    materials = [_file(path, repository) for path in sorted(files)]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"image": name},
                "internalParameters": {},
                "resolvedDependencies": [
                    *_commit(repository),
                    *materials,
                    *({"uri": package} for package in sorted(packages)),
                ],
            },
            "runDetails": {"builder": {"id": BUILDER_ID}},
        },
    }
    return json.dumps(statement, indent=2, sort_keys=True) + "\n"


def _file(path: Path, repository: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": str(path.relative_to(repository)), "digest": {"sha256": digest}}


def _commit(repository: Path) -> list[dict[str, Any]]:
    """Return the commit, if the files are those of one."""
    if _git(repository, "status", "--porcelain") != "":
        return []
    return [{"name": "source", "digest": {"gitCommit": _git(repository, "rev-parse", "HEAD")}}]


def _git(repository: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
