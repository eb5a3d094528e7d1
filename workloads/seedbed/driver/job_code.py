"""The code of the network of a job: packed user code, an installed package, or a library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedbed.usercode.code_source import CodeArchive, fetch_code, installed_sources
from seedbed.usercode.library_networks import library_digest, library_of
from seedbed_api.recipe import Recipe
from seedbed_api.trainingjob import TrainingJob

if TYPE_CHECKING:
    from seedbed.driver.resolve_run import RunOptions


def code_of(job: TrainingJob, options: RunOptions) -> tuple[CodeArchive | None, str | None]:
    """Return the packed code, None where it is installed, and its digest; (None, None) if built in."""
    model = job.spec.model
    if model.entrypoint is None:
        return None, digest_of_library(job.spec)
    if options.fetched is not None:
        return options.fetched, options.fetched.digest
    uri = str(options.code) if options.code else (model.code.uri if model.code else None)
    if uri is None:
        sources, _ = installed_sources(model.entrypoint.partition(":")[0])
        return None, sources.digest
    digest = model.code.digest if model.code else None
    archive = fetch_code(uri, digest=digest, secret=options.dataset_secret)
    return archive, archive.digest


def digest_of_library(recipe: Recipe) -> str | None:
    """Return the digest of the library that has the network of a recipe; None for a built-in one."""
    library = library_of(recipe.model.name)
    return None if library is None else library_digest(library)
