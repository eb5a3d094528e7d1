"""Build or extend a dataset: list, inspect, deduplicate, plan shards, write them, and manifest.json last."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from seedbed.dataset.build_recipe import make_recipe, same_recipe
from seedbed.dataset.build_report import BadSourcesError, BuildReport
from seedbed.dataset.build_requirements import require_trainable
from seedbed.dataset.dataset_digest import DatasetDigest
from seedbed.dataset.deduplication import Deduplicator, existing_rows, hex_contents, shard_contents
from seedbed.dataset.disk_spill import DiskSpill
from seedbed.dataset.file_format import (
    MANIFEST,
    REPORT,
    SCHEMA_VERSION,
    SPLITS,
    BuildRecipe,
    Manifest,
    dump_manifest,
    invalid_dataset,
)
from seedbed.dataset.image_sources import list_source
from seedbed.dataset.ingest_engine import IngestEngine, LocalIngestEngine
from seedbed.dataset.ingest_passes import METADATA_SCHEMA, IngestJob, WrittenShard
from seedbed.dataset.lineage import addition_of, publish_extension
from seedbed.dataset.manifest_reader import version_path
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.dataset.shard_planning import plan_shards
from seedbed.dataset.source_listing import SourceListing
from seedbed.dataset.sources.column_options import ColumnOptions
from seedbed.dataset.sources.formats import SourceOptions
from seedbed.dataset.target_options import require_same_columns, require_single_label, target_columns
from seedbed.dataset.targets import SINGLE_LABEL
from seedbed.storage import LocalStorage, Storage, holds
from seedbed_api.errors import UserError, refusal

OnProgress = Callable[[str, int, int], None]
"""Called with the stage, the number of finished items and their total."""
MIB = 1 << 20
RAY_FROM_FILES = 2_000
"""Sources with fewer files are built in this process: Ray takes seconds to start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """The options of `seedbed dataset build`."""

    split: str = "train=0.8,validation=0.1,test=0.1"
    image_size: int | None = None
    encoding: str = "source"
    alpha: str | None = None
    depth: str | None = None
    cmyk: str | None = None
    frames: str | None = None
    """Conversions that lose something: `white`, `black` or `#rrggbb`; `8`; `convert`; `first`."""
    on_error: str = "fail"
    group_by: str | None = None
    csv: str | None = None
    task: str = SINGLE_LABEL
    """One of `targets.TASKS`."""
    target: tuple[str, ...] = ()
    """Columns that hold the target; see `target_columns`."""
    top_folders: str = "auto"
    """`classes`, `splits`, or `auto`: decided by their names, an error where these are ambiguous."""
    source_format: str = "auto"
    """One of `formats.FORMATS`; `auto`: decided by the names of the files."""
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    key_column: str | None = None
    classes: tuple[str, ...] | None = None
    """Class names by label; None: those of the source."""
    source_files: tuple[str, ...] | None = None
    """The files of SOURCE to read; None: all."""
    append: bool = False
    new_classes: str = "add"
    """What to do with classes that the extended dataset lacks: `add` them after the others, or `refuse`."""
    shard_bytes: int = 64 * MIB
    batch_bytes: int = 2 * MIB
    parallelism: int = 2
    engine: str = "auto"
    """`local`, `ray`, or `auto`: Ray from 2,000 files on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """The result of a build."""

    outcome: str
    """`built`, `extended` or `already there`."""
    manifest: Manifest
    report: BuildReport


def build_dataset(
    source: Storage,
    dest: Storage,
    *,
    options: BuildOptions,
    progress: OnProgress = lambda *_: None,
    rows: SourceListing | None = None,
) -> BuildResult:
    """Build or extend a dataset, from SOURCE or listed rows; `UserError` for bad ones, or another DEST."""
    if options.source_files is None:
        _require_apart(source, dest)
    recipe = _recipe(options)
    if rows is not None:
        require_single_label(options.task)
    targets = target_columns(
        options.task,
        options.target,
        csv=options.csv,
        classes=options.classes,
        label_column=options.label_column,
    )
    existing = _existing(dest)
    _require_extendable(existing, recipe, options)
    listing = rows or list_source(
        source,
        csv=options.csv,
        group_by=options.group_by,
        top_folders=options.top_folders,
        options=_source_options(options),
        fetched=partial(progress, "fetching"),
        targets=targets,
    )
    job = IngestJob(
        source=source,
        dest=dest,
        classes=_classes(listing, existing if options.append else None, options),
        recipe=recipe,
        batch_bytes=options.batch_bytes,
        threads=max(1, min(32, options.parallelism)),
        containers=listing.containers,
        task=None if targets is None else targets.task,
    )
    named = listing.class_order is not None
    build = _Build(job=job, options=options, existing=existing, progress=progress, named_classes=named)
    engine = choose_engine(options, files=listing.files.num_rows, urls=(source.url, dest.url))
    return build.run(listing, engine)


def _source_options(options: BuildOptions) -> SourceOptions:
    columns = ColumnOptions(
        image=options.image_column,
        label=options.label_column,
        split=options.split_column,
        group=options.group_by,
        key=options.key_column,
    )
    return SourceOptions(
        format=options.source_format,
        group_by=options.group_by,
        columns=columns,
        classes=options.classes,
        files=options.source_files,
        skip_bad=options.on_error == "skip",
    )


def _require_apart(source: Storage, dest: Storage) -> None:
    """Refuse a DEST inside of SOURCE, or around it: shards would be listed as sources."""
    above, below = sorted((f"{_resolved_url(source)}/", f"{_resolved_url(dest)}/"), key=len)
    if below.startswith(above):
        line = refusal(
            "DEST", dest.url, f"is inside of SOURCE {source.url}, or around it", "choose a folder beside it"
        )
        raise UserError("InvalidSpec", line)


def _resolved_url(storage: Storage) -> str:
    """Return the URL of a storage; of a local folder, that where its links lead."""
    if isinstance(storage, LocalStorage):
        return f"file://{os.path.realpath(storage.root)}".rstrip("/")
    return storage.url.rstrip("/")


def choose_engine(options: BuildOptions, *, files: int, urls: Iterable[str]) -> IngestEngine:
    """Return the engine; other processes cannot read `memory://`, so Ray cannot either."""
    shared = not any(url.startswith("memory:") for url in urls)
    auto = options.parallelism > 1 and files >= RAY_FROM_FILES and shared
    if options.engine == "ray" or (options.engine == "auto" and auto):
        from seedbed.dataset.ray_ingest import RayIngestEngine  # small datasets are built without Ray

        return RayIngestEngine(parallelism=options.parallelism)
    return LocalIngestEngine()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Build:
    job: IngestJob
    options: BuildOptions
    existing: Dataset | None
    progress: OnProgress
    named_classes: bool = False
    """The source or the user names all classes, also those without an image."""

    @property
    def base(self) -> Dataset | None:
        """Return the dataset that is extended."""
        return self.existing if self.options.append else None

    def run(self, listing: SourceListing, engine: IngestEngine) -> BuildResult:
        with engine.session():
            deduplicator = self._inspect_sources(listing, engine)
            self._require_usable(deduplicator)
            done = self._unchanged_manifest(deduplicator)
            if done is not None:
                return BuildResult(outcome="already there", manifest=done, report=deduplicator.report)
            manifest = self._write(deduplicator, engine)
        self._publish(manifest, deduplicator.report)
        outcome = "built" if self.base is None else "extended"
        return BuildResult(outcome=outcome, manifest=manifest, report=deduplicator.report)

    def _inspect_sources(self, listing: SourceListing, engine: IngestEngine) -> Deduplicator:
        report = BuildReport(ignored=listing.ignored)
        deduplicator = Deduplicator(classes=self.job.classes, report=report, task=self.job.task)
        metadata = DiskSpill(METADATA_SCHEMA)
        for block in existing_rows(self.base):
            metadata.add(block)
        inspected = engine.inspect(listing.files.tables(), job=self.job)
        for block in self._with_progress(inspected, listing.files.num_rows):
            metadata.add(block)
        for block in metadata.sorted_blocks():
            deduplicator.add(block)
        return deduplicator

    def _with_progress(self, blocks: Iterable[pa.Table], total: int) -> Iterator[pa.Table]:
        done = 0
        for block in blocks:
            done += block.num_rows
            self.progress("inspecting", done, total)
            yield block
        assert done == total, f"{done} of {total} files were inspected"

    def _require_usable(self, deduplicator: Deduplicator) -> None:
        report, source = deduplicator.report, self.job.source.url
        if report.refused.counts and self.options.on_error == "fail":
            raise BadSourcesError(report)
        if self.base is None:
            require_trainable(deduplicator, self.job.classes, source, task=self.job.task)
        for name, count in zip(self.job.classes, deduplicator.label_counts, strict=True):
            if count == 0 and (self.base is None or name not in self.base.classes):
                fix = "repair its images, or remove its folder or its rows"
                if self.named_classes:
                    fix = "add images of it, or name those to keep with --classes"
                if self.job.task is not None:
                    fix = "repair its images, or remove its column or its rows"
                raise UserError("EmptyClass", refusal("SOURCE", name, "no image of this class is left", fix))

    def _unchanged_manifest(self, deduplicator: Deduplicator) -> Manifest | None:
        if self.existing is None:
            return None
        manifest = self.existing.manifest
        _contents(self.existing)
        nothing_new = self.base is not None and deduplicator.report.images == 0
        same = (
            manifest.contents == hex_contents(deduplicator.contents)
            and manifest.classes == self.job.classes
            and manifest.task == self.job.task
        )
        if nothing_new or (self.base is None and same and same_recipe(manifest.recipe, self.job.recipe)):
            return manifest
        if self.base is None:
            fix = "choose an empty DEST, or add to it with --append"
            raise UserError(
                "DatasetExists", refusal("DEST", self.job.dest.url, "it holds another dataset", fix)
            )
        return None

    def _write(self, deduplicator: Deduplicator, engine: IngestEngine) -> Manifest:
        old = () if self.base is None else self.base.manifest.shards
        first_row = sum(shard.rows for shard in old)
        tasks = plan_shards(
            deduplicator, shard_bytes=self.options.shard_bytes, first_number=len(old), first_row=first_row
        )
        return self._manifest(deduplicator, engine.write(tasks, job=self.job))

    def _manifest(self, deduplicator: Deduplicator, written: Iterable[WrittenShard]) -> Manifest:
        digest = DatasetDigest(self.job.classes, task=self.job.task)
        counts = _start_counts(self.job.classes, self.base)
        shards = [] if self.base is None else list(self.base.manifest.shards)
        for number, shard in enumerate(shards):
            assert self.base is not None
            digest.update(shard.split, self.base.index(number).digest.tobytes())
        done = 0
        for item in written:
            digest.update(item.shard.split, item.row_digests)
            counts[item.shard.split] += item.label_counts
            shards.append(item.shard)
            done += item.shard.rows
            self.progress("writing", done, deduplicator.report.images)
        return Manifest(
            schema_version=SCHEMA_VERSION,
            version=1 if self.base is None else self.base.manifest.version + 1,
            parent=None if self.base is None else self.base.digest,
            classes=self.job.classes,
            counts={split: tuple(int(count) for count in counts[split]) for split in SPLITS},
            recipe=self.job.recipe,
            contents=hex_contents(deduplicator.contents + (_contents(self.base) if self.base else 0)),
            shards=tuple(shards),
            digest=digest.finish(),
            task=self.job.task,
        )

    def _publish(self, manifest: Manifest, report: BuildReport) -> None:
        dest, data = self.job.dest, dump_manifest(manifest)
        dest.put(version_path(manifest.digest), data)
        dest.put(REPORT, report.dump())
        if self.base is not None:
            source = self.job.source.url
            addition = addition_of(self.base.manifest, manifest, report=report, source=source)
            publish_extension(dest, manifest, addition)
        elif not dest.create(MANIFEST, data) and not holds(dest, MANIFEST, data):
            fix = "choose another DEST"
            raise UserError("DatasetExists", refusal("DEST", dest.url, "another build finished first", fix))


def _start_counts(
    classes: tuple[str, ...], base: Dataset | None
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    counts = {split: np.zeros(len(classes), np.int64) for split in SPLITS}
    if base is not None:
        for split, count in counts.items():
            count[: len(base.classes)] = base.rows_per_class(split=split)
    return counts


def _contents(dataset: Dataset) -> int:
    """Return the contents of a dataset by its indices; `UserError` where its manifest says something else."""
    shards = dataset.manifest.shards
    found = sum(shard_contents(dataset.index(number), shard.split) for number, shard in enumerate(shards))
    if dataset.manifest.contents != hex_contents(found):
        raise invalid_dataset(dataset.storage.url, "its contents are not the sum over its rows")
    return found


def _recipe(options: BuildOptions) -> BuildRecipe:
    return make_recipe(
        split=options.split,
        image_size=options.image_size,
        encoding=options.encoding,
        group_by=options.group_by,
        conversions={name: getattr(options, name) for name in ("alpha", "depth", "cmyk", "frames")},
    )


def _existing(dest: Storage) -> Dataset | None:
    return open_dataset(dest) if dest.exists(MANIFEST) else None


def _require_extendable(existing: Dataset | None, recipe: BuildRecipe, options: BuildOptions) -> None:
    if not options.append:
        return
    if existing is None:
        raise UserError(
            "InvalidDataset", refusal("--append", True, "there is no dataset at DEST", "leave --append away")
        )
    if existing.task != options.task:
        problem = f"the dataset at DEST is of task {existing.task}"
        raise UserError(
            "DatasetExists", refusal("--task", options.task, problem, f"write --task {existing.task}")
        )
    if not same_recipe(existing.manifest.recipe, recipe):
        problem = "the dataset was built with other options"
        old = existing.manifest.recipe
        fix = (
            f"use split {old.split}, image size {old.image_size}, format {old.encoding}, group {old.group_by}"
            + "".join(f", --{name} {value}" for name, value in sorted((old.conversions or {}).items()))
        )
        raise UserError("DatasetExists", refusal("--append", True, problem, fix))


def _classes(listing: SourceListing, base: Dataset | None, options: BuildOptions) -> tuple[str, ...]:
    """Return the class names in label order; those of an extended dataset keep their labels."""
    old = () if base is None else base.classes
    if base is not None and listing.targets is not None:
        require_same_columns(listing.targets, old)
    new = [name for name in _named_classes(listing.classes(), options.classes) if name not in old]
    if new and base is not None and options.new_classes == "refuse":
        problem = f"the dataset has no class {', '.join(map(repr, new[:3]))}"
        fix = f"correct the name, or add it with --new-classes add; the classes are {', '.join(old[:20])}"
        raise UserError("UnknownClass", refusal("SOURCE", new[0], problem, fix))
    return (*old, *new)


def _named_classes(found: tuple[str, ...], chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the classes that the user names, or else those of the source."""
    unknown = next((name for name in found if chosen is not None and name not in chosen), None)
    if unknown is not None:
        problem = f"SOURCE has another class, {unknown!r}"
        fix = "name all classes, or remove the folder or the rows of that one"
        raise UserError("InvalidOption", refusal("--classes", ",".join(chosen or ()), problem, fix))
    return chosen or found
