"""Build an image without a container engine: `python images/build.py operator` prints its archive's path.

Beside the archive are its bill of materials (`.cdx.json`), its provenance (`.provenance.json`) and the digest
of its manifest (`.digest`).

Two Debian roots by mmdebstrap, the same install.sh as in the Dockerfile in a chroot; ENV, USER and ENTRYPOINT
are read from the Dockerfile. Archives are stored outside the repository, by content.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ociarchive import EPOCH, Folder, write_archive
from provenance import provenance
from sbom import debian_packages, image_bill, wheel_hashes

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "images/install.sh"
SUITE = "bookworm"
UNREAD = ("doc", "man", "info", "locale", "lintian", "bug", "zoneinfo")
"""Folders of /usr/share that no container reads; copyright files stay."""


class CannotBuild(Exception):  # noqa: N818 - a state of the machine, not a fault
    """This machine lacks a tool that the build needs; the text says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image: its name, the lock of what it installs, and the Dockerfile that describes it."""

    name: str
    dockerfile: Path
    packages: tuple[str, ...]
    """Folders of the repository's code in the image."""
    size: str
    """About how much disk a build takes."""

    @property
    def lock(self) -> Path:
        """The lock of what it installs."""
        return REPOSITORY / f"requirements/{self.name}.lock"

    @property
    def tag(self) -> str:
        """The name under which a node finds it."""
        return f"localhost/seedbed-{self.name}:{version()}"


IMAGES = {
    "operator": Image(
        name="operator",
        dockerfile=REPOSITORY / "operator/Dockerfile",
        packages=("crds/seedbed_api", "operator/seedbed_operator"),
        size="250 MB",
    ),
    "workload": Image(
        name="workload",
        dockerfile=REPOSITORY / "workloads/Dockerfile",
        packages=("crds/seedbed_api", "workloads/seedbed"),
        size="9 GB with its wheels",
    ),
}


def main(arguments: list[str]) -> int:
    """Build an image and print the path of its archive, or with --root the path of its root folder."""
    image = IMAGES[arguments[0]]
    try:
        made = plain_root(image) if "--root" in arguments else built(image)
    except CannotBuild as missing:
        print(f"not run: {image.tag}: {missing}", file=sys.stderr)
        return 1
    if made.is_file():
        digest = made.with_suffix(".digest").read_text(encoding="utf-8")
        say(f"{image.tag} {digest}: {made.stat().st_size / 2**20:.0f} MiB packed")
        say(f"bill of materials: {bill_of(made)}")
        say(f"provenance: {provenance_of(made)}")
    for other in IMAGES.values():
        if other is not image and not complete(archive_of(other)):
            say(f"not built: {other.tag}; `python images/build.py {other.name}` does, {other.size}")
    print(made)
    return 0


def archive_of(image: Image) -> Path:
    """Return the path of the image's archive, built or not."""
    return cache() / "archives" / content(sources(image)) / f"seedbed-{image.name}.tar"


def built(image: Image) -> Path:
    """Return the image's archive, built first if this content was never built here."""
    archive = archive_of(image)
    if not complete(archive):
        _check_means()
        with locked(cache() / "lock"):
            if not complete(archive):
                _build(image, archive)
    return archive


def bill_of(archive: Path) -> Path:
    """Return the path of an archive's bill of materials."""
    return archive.with_suffix(".cdx.json")


def provenance_of(archive: Path) -> Path:
    """Return the path of an archive's provenance."""
    return archive.with_suffix(".provenance.json")


def complete(archive: Path) -> bool:
    """Tell whether an archive is complete: its digest is written last."""
    return archive.with_suffix(".digest").exists()


def _build(image: Image, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    environment = installed(image)
    layers = (
        Folder(path=root("runtime"), without=frozenset({"dev", "proc", "sys", "run"})),
        Folder(path=environment, place="opt/seedbed"),
    )
    say(f"{image.name}: packing")
    digest = write_archive(archive, name=image.tag, config=config(image.dockerfile), folders=layers)
    _describe(image, archive, digest, environment)
    archive.with_suffix(".digest").write_text(digest, encoding="utf-8")


def _describe(image: Image, archive: Path, digest: str, environment: Path) -> None:
    """Write the bill of materials and the provenance beside an archive."""
    debian = tuple(debian_packages(root("runtime")))
    bill = image_bill(
        f"seedbed-{image.name}",
        version=version(),
        digest=digest,
        debian=debian,
        environment=environment,
        hashes=wheel_hashes(wheels(image)),
    )
    bill_of(archive).write_text(bill, encoding="utf-8")
    statement = provenance(
        f"seedbed-{image.name}",
        digest=digest,
        repository=REPOSITORY,
        files=sources(image),
        packages=[str(each.purl) for each in debian],
    )
    provenance_of(archive).write_text(statement, encoding="utf-8")


def tree_of(image: Image) -> Path:
    """Return the path of the image's root folder, built or not."""
    return cache() / "trees" / f"{image.name}-{content(sources(image))}"


def plain_root(image: Image) -> Path:
    """Return a folder with the image's content, for a runtime that takes folders; files are hard links."""
    tree = tree_of(image)
    if tree.exists():
        return tree
    _check_means()
    with locked(cache() / "lock"):
        environment, aside = installed(image), tree.with_suffix(".building")
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        run(["cp", "--archive", "--link", str(root("runtime")), str(aside)])
        run(["cp", "--archive", "--link", str(environment), str(aside / "opt/seedbed")])
        aside.replace(tree)
    return tree


def installed(image: Image) -> Path:
    """Return the folder that becomes /opt/seedbed, made by install.sh in a chroot without a network."""
    stage = root("build")
    for name in ("src", "wheels", "opt/seedbed"):
        shutil.rmtree(stage / name, ignore_errors=True)
    for path in sources(image):
        target = stage / "src" / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copytree(wheels(image), stage / "wheels")
    say(f"{image.name}: installing")
    run_script(stage, "build", image.name)
    for name in ("src", "wheels"):
        shutil.rmtree(stage / name)
    return stage / "opt/seedbed"


def wheels(image: Image) -> Path:
    """Return the folder with the locked wheels of an image; their hashes are checked."""
    locks = [image.lock, REPOSITORY / "requirements/bootstrap.lock"]
    folder = cache() / "wheels" / content(locks)
    if not folder.exists():
        aside = folder.with_suffix(".building")
        shutil.rmtree(aside, ignore_errors=True)
        say(f"{image.name}: fetching wheels")
        for lock in locks:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
            run([*pip, "--only-binary", ":all:", "--dest", str(aside), "-r", str(lock)])
        aside.replace(folder)
    return folder


def root(stage: str) -> Path:
    """Return a Debian root with the packages of a stage, bootstrapped once per list of packages."""
    packages = script_packages(stage)
    finishing = SCRIPT.read_text(encoding="utf-8") if stage == "runtime" else ""
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNREAD]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    key = hashlib.sha256("\n".join((*packages, *options, finishing)).encode())
    folder = cache() / "roots" / f"{stage}-{key.hexdigest()[:16]}"
    if not folder.exists():
        aside = folder.with_suffix(".building")
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        say(f"{stage} stage: bootstrapping Debian {SUITE}")
        base = ["--quiet", "--mode=root", "--variant=essential", f"--include={','.join(packages)}"]
        dated = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
        run(["mmdebstrap", *base, *options, SUITE, str(aside), *sources_of_packages()], dated)
        if stage == "runtime":
            run_script(aside, "finish")
        aside.replace(folder)
    return folder


def sources_of_packages() -> list[str]:
    """Return this machine's apt sources of the suite; without any, mmdebstrap uses its default."""
    apt = Path("/etc/apt")
    lists = (apt / "sources.list", *sorted(apt.glob("sources.list.d/*.sources")))
    named = re.compile(rf"^(deb|Suites:).*\b{SUITE}\b", re.MULTILINE)
    return [str(path) for path in lists if path.exists() and named.search(path.read_text(encoding="utf-8"))]


def run_script(folder: Path, *arguments: str) -> None:
    """Run install.sh inside a root."""
    inside = folder / "install.sh"
    shutil.copyfile(SCRIPT, inside)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "WHEELS": "/wheels",
        "HOME": "/tmp",
    }
    run(["chroot", str(folder), "sh", "/install.sh", *arguments], environment)
    inside.unlink()


def script_packages(stage: str) -> list[str]:
    """Return the Debian packages of a stage."""
    return run(["sh", str(SCRIPT), "packages", stage]).split()


def config(dockerfile: Path) -> dict[str, Any]:
    """Return how the image runs, from the last stage of its Dockerfile."""
    last = dockerfile.read_text(encoding="utf-8").rpartition("\nFROM ")[2].splitlines()
    found = [(line.split(" ", 1)[0], line.split(" ", 1)[-1]) for line in last]
    texts = {word: rest for word, rest in found if word in ("USER", "WORKDIR")}
    return {
        "Env": [rest for word, rest in found if word == "ENV"],
        "User": texts["USER"],
        "WorkingDir": texts["WORKDIR"],
        "Entrypoint": json.loads(next(rest for word, rest in found if word == "ENTRYPOINT")),
    }


def sources(image: Image) -> list[Path]:
    """Return every file that the image is built from, without those that .dockerignore excludes."""
    code = [path for name in image.packages for path in (REPOSITORY / name).rglob("*") if path.is_file()]
    single = [REPOSITORY / name for name in ("LICENSE", "README.md", "pyproject.toml", "images/install.sh")]
    locks = [image.lock, REPOSITORY / "requirements/bootstrap.lock"]
    tools = [image.dockerfile, *(REPOSITORY / "images").glob("*.py")]
    return sorted({*single, *locks, *tools, *(path for path in code if "__pycache__" not in path.parts)})


def content(paths: list[Path]) -> str:
    """Return a digest of files, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(
            f"{path.relative_to(REPOSITORY)}\0".encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()[:32]


def cache() -> Path:
    """Return the cache folder, which is outside the repository."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seedbed/images"


def version() -> str:
    """Return the version of the project."""
    lines = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command; if it fails, the last line of its output is the reason."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise CannotBuild(f"{' '.join(command[:4])} … failed: {said[-1] if said else done.returncode}")
    return done.stdout


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"image: {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the cache: one build at a time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{error.filename} cannot be made ({error.strerror}); XDG_CACHE_HOME may name another place"
        raise CannotBuild(f"there is no place to build in: {why}") from error
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_means() -> None:
    if os.geteuid() != 0:
        raise CannotBuild("needs root for mmdebstrap and chroot")
    for command in ("mmdebstrap", "chroot"):
        if shutil.which(command) is None:
            raise CannotBuild(f"no {command}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
