"""Sources of user code: a folder on this machine, a wheel at a URL, or an installed package."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seedbed.storage import absolute_url, open_storage, printable_url
from seedbed.storage.object_limits import WHEEL
from seedbed.usercode.source_digest import SourceFiles, read_folder, read_installed
from seedbed.usercode.user_error_messages import model_error
from seedbed.usercode.wheel_files import pack_wheel, read_wheel

_UNPACK = "unpack it and name the folder, or build a .whl with `pip wheel --no-deps .`"
_FIXES = {".py": "name the folder that holds it"} | dict.fromkeys(
    (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".egg"), _UNPACK
)
"""The fix by suffix of the file that was named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeArchive:
    """Packed user code that is sent to the workers; picklable."""

    wheel: bytes
    digest: str
    """Over the source files, not over the wheel's bytes."""


def fetch_code(uri: str, *, digest: str | None = None, secret: Path | None = None) -> CodeArchive:
    """Read and pack a folder, or a `.whl` at any storage URL. Raises UserError, also for a wrong digest."""
    uri = absolute_url(uri)
    folder = Path(uri)
    sources = read_folder(folder) if folder.is_dir() else _from_wheel(uri, secret=secret)
    if digest is not None and sources.digest != digest:
        problem = f"the source files at {printable_url(uri)} have digest {sources.digest}"
        raise model_error("code.digest", digest, problem, "pin that digest, or restore the files")
    return CodeArchive(wheel=pack_wheel(sources), digest=sources.digest)


def installed_sources(module: str) -> tuple[SourceFiles, Path]:
    """Return the files of the top-level package of an importable module, and the folder that holds it."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        fix = "install it into the image, or name its code (model.code, --code DIR)"
        raise model_error("entrypoint", module, f"there is no module {top}", fix)
    locations = list(spec.submodule_search_locations or [])
    package = Path(locations[0] if locations else spec.origin or "")
    if not package.exists():
        raise model_error("entrypoint", module, f"{top} has no source files", "name a Python package")
    return read_installed(package), package.parent


def _from_wheel(uri: str, *, secret: Path | None) -> SourceFiles:
    parent, _, name = uri.rpartition("/")
    suffix = PurePosixPath(name.partition("?")[0]).suffix
    if suffix != ".whl":
        fix = _FIXES.get(suffix, "name a folder or a .whl")
        raise model_error("code.uri", printable_url(uri), "is neither a folder nor a wheel", fix)
    try:
        content = open_storage(parent or ".", secret=secret).read(name, WHEEL)
    except FileNotFoundError as error:
        raise model_error(
            "code.uri", printable_url(uri), "there is no such wheel", "check the path"
        ) from error
    return read_wheel(content, name=printable_url(uri))
