"""What folders of a source mean: what is passed over, which class is empty, and whether the top ones are splits."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.image_sources import list_source
from seedbed.dataset.reader import open_dataset
from seedbed.dataset.source_listing import SourceListing
from seedbed.dataset.split_names import splits_by_name
from seedbed.storage import LocalStorage, Storage, open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, png, write_files

Files = dict[str, bytes]


def images(*folders: str, each: int = 3) -> Files:
    """Return files that are listed and never opened."""
    return {f"{folder}/{n}.png": b"" for folder in folders for n in range(each)}


PASSED_OVER = [
    "__MACOSX/cat/._0.png",
    "__macosx/dog/0.png",
    "cat/__MACOSX/._0.png",
    "cat/._0.png",
    ".DS_Store",
    ".git/objects/aa/0.png",
    ".ipynb_checkpoints/0.png",
    "cat/.ipynb_checkpoints/0-checkpoint.png",
    "cat/Thumbs.db",
    "dog/thumbs.DB",
    "dog/THUMBS.DB",
    "cat/ehthumbs.db",
    "dog/Desktop.ini",
    "Icon\r",
    "@eaDir/cat/0.png",
    "cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg",
    "$RECYCLE.BIN/S-1-5/0.png",
    "System Volume Information/x.dat",
    "lost+found/0.png",
    "#recycle/0.png",
]


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "source") if request.param == "local" else f"memory://{tmp_path}")


def put(store: Storage, files: Files) -> Storage:
    if isinstance(store, LocalStorage):  # without the syncs of a store
        write_files(store.root, files)
        return store
    for name, data in files.items():
        store.put(name, data)
    return store


def listed(store: Storage, *, top_folders: str = "auto") -> SourceListing:
    return list_source(store, csv=None, group_by=None, top_folders=top_folders)


def rows(listing: SourceListing) -> pa.Table:
    return listing.files.read().sort_by("path")


def refused(store: Storage, *, top_folders: str = "auto") -> UserError:
    with pytest.raises(UserError) as caught:
        listed(store, top_folders=top_folders)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_systems_leave_in_folders_is_passed_over(name: str, store: Storage) -> None:
    clean = listed(put(store, images("cat", "dog")))
    again = listed(put(store, {name: b""}))
    assert rows(again) == rows(clean)
    assert (clean.ignored, again.ignored) == (0, 1)


@pytest.mark.parametrize("name", PASSED_OVER)
def test_it_is_passed_over_beside_and_in_splits(name: str, store: Storage) -> None:
    clean = listed(put(store, images("train/cat", "train/dog", "val/cat", "val/dog")))
    assert rows(clean)["split"].to_pylist() == [0] * 6 + [1] * 6
    assert rows(listed(put(store, {name: b"", f"train/{name}": b""}))) == rows(clean)


@pytest.mark.parametrize(
    "name",
    [
        *("emu/.gitkeep", "emu/Thumbs.db", "emu/tHuMbS.dB", "emu/._0.png", "emu/__MACOSX/0.png"),
        *(
            "emu/.ipynb_checkpoints/0.png",
            "emu/@eaDir/0.png/x.jpg",
            "emu/more/.hidden/0.png",
            "emu/deep/desktop.ini",
        ),
    ],
)
@pytest.mark.parametrize("above", ["", "train/"])
def test_a_class_of_which_all_is_passed_over_is_named(name: str, above: str, store: Storage) -> None:
    error = refused(put(store, images(f"{above}cat", f"{above}dog") | {f"{above}{name}": b""}))
    assert error.reason == "EmptyClass"
    assert "'emu'" in error.message


def test_a_folder_that_nobody_may_read_is_no_matter_where_it_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, scan = put(open_storage(str(tmp_path)), images("cat", "dog", "lost+found")), os.scandir

    def denying(path: str) -> object:
        if "lost+found" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", denying)
    assert listed(store).classes() == ("cat", "dog")


SPLIT_LIKE = {
    "Roboflow, fastai": ("train", "valid", "test"),
    "capitals": ("Train", "Val", "Test"),
    "all capitals": ("TRAIN", "VALIDATION", "TEST"),
    "Keras, Kaggle": ("training", "validation"),
    "Kaggle's intel": ("seg_train", "seg_test"),
    "a name before": ("birds-train", "birds-val", "birds-test"),
    "short": ("trn", "vld", "tst"),
    "shorter": ("tr", "te"),
    "with a hold-out": ("train", "hold-out"),
    "with dev": ("train", "dev", "test"),
    "with eval": ("training", "eval"),
    "sets": ("Training Set", "Test Set"),
    "glued": ("trainset", "testset"),
    "images": ("train_images", "test_images"),
    "years": ("train2017", "val2017"),
    "camel case": ("trainImages", "valImages"),
    "numbered": ("1_train", "2_val"),
    "French": ("entraînement", "validation", "test"),
    "Spanish": ("entrenamiento", "validación", "prueba"),
    "Portuguese": ("treino", "validação", "teste"),
    "Chinese": ("训练集", "验证集", "测试集"),
    "Japanese": ("学習データ", "検証データ", "テストデータ"),
    "train alone": ("Train",),
    "no train": ("validation", "test"),
}


@pytest.mark.parametrize("name", SPLIT_LIKE)
@pytest.mark.parametrize("below", ["classes", "images"])
def test_folders_that_look_like_splits_are_never_classes_in_silence(
    name: str, below: str, store: Storage
) -> None:
    folders = SPLIT_LIKE[name]
    deeper = [f"{folder}/{label}" for folder in folders for label in ("cat", "dog")]
    put(store, images(*(deeper if below == "classes" else folders)))
    error = refused(store)
    assert error.reason == "UnclearSplits"
    assert all(repr(folder) in error.message for folder in folders)
    assert "--top-folders classes" in error.message
    assert ("--top-folders splits" if below == "classes" else "--csv") in error.message


@pytest.mark.parametrize("name", SPLIT_LIKE)
def test_the_user_may_say_that_they_are_splits(name: str, store: Storage) -> None:
    folders = SPLIT_LIKE[name]
    put(store, images(*(f"{folder}/{label}" for folder in folders for label in ("cat", "dog"))))
    meant = splits_by_name(folders)
    assert set(meant) == set(folders)
    if "train" not in meant.values():
        assert "no folder means train" in refused(store, top_folders="splits").message
        return
    listing = listed(store, top_folders="splits")
    assert listing.classes() == ("cat", "dog")
    assert {SPLITS[code] for code in rows(listing)["split"].to_pylist()} == set(meant.values())


@pytest.mark.parametrize("name", [name for name, folders in SPLIT_LIKE.items() if len(folders) > 1])
def test_the_user_may_say_that_they_are_classes(name: str, store: Storage) -> None:
    folders = [unicodedata.normalize("NFC", folder) for folder in SPLIT_LIKE[name]]
    put(store, images(*folders))
    assert listed(store, top_folders="classes").classes() == tuple(sorted(folders))


UNCLEAR = {
    "splits beside another folder": (("train/cat", "train/dog", "test/cat", "test/dog", "labels/x"), "'train'"),
    "sites that hold the classes": (("north/cat", "north/dog", "south/cat", "south/dog"), "'north', 'south'"),
    "folds": (("fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog", "fold3/cat"), "'fold1', 'fold2'"),
    "images and labels of splits": (
        ("images/train", "images/val", "labels/train", "labels/val"), "'images', 'labels'",
    ),
    "splits below the classes": (("cat/train", "cat/test", "dog/train", "dog/test"), "'test', 'train'"),
    "years": (("2019/cat", "2019/dog", "2019/emu", "2020/cat", "2020/dog"), "'2019', '2020'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCLEAR)
def test_folders_that_may_be_classes_or_not_are_asked_about(name: str, store: Storage) -> None:
    folders, says = UNCLEAR[name]
    put(store, images(*folders))
    error = refused(store)
    assert error.reason == "UnclearSplits"
    assert says in error.message
    assert "--top-folders classes" in error.message
    tops = {folder.partition("/")[0] for folder in folders}
    assert set(listed(store, top_folders="classes").classes()) == tops


CLASSES = {
    "vehicles": ("train", "car", "bus"),
    "vehicles, and a test": ("train", "bus", "test"),
    "one with kinds of its own": ("train/steam", "train/electric", "car", "bus"),
    "longer names": ("bullet train", "train station", "test tube"),
    "a word of a split in each": ("crash_test", "crash_helmet", "speed_train"),
    "one subfolder each, of one name": ("cat/images", "dog/images"),
    "subfolders of their own": ("cat/tabby", "cat/siamese", "dog/poodle", "dog/collie"),
    "one common subfolder": ("cat/other", "cat/tabby", "dog/other", "dog/collie"),
    "pictures beside common subfolders": ("cat", "cat/left", "cat/right", "dog", "dog/left", "dog/right"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_need_no_word_of_the_user(name: str, store: Storage) -> None:
    put(store, images(*CLASSES[name]))
    tops = {folder.partition("/")[0] for folder in CLASSES[name]}
    assert set(listed(store).classes()) == tops


@pytest.mark.parametrize("folders", [("train", "valid", "extra"), ("cat", "dog")])
def test_splits_that_the_user_says_must_have_names_of_splits(
    folders: tuple[str, ...], store: Storage
) -> None:
    put(store, images(*(f"{folder}/{label}" for folder in folders for label in "ab")))
    error = refused(store, top_folders="splits")
    assert error.reason == "UnclearSplits"
    assert "--top-folders" in error.message


@pytest.mark.parametrize(
    ("folders", "top_folders"),
    [
        (("training/training/a", "training/training/b", "validation/validation/a"), "splits"),
        (("seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a"), "splits"),
        (("train/train/a", "train/train/b", "test/test/a"), "auto"),
        (("train/Train", "train/Valid"), "auto"),
    ],
)
def test_splits_that_hold_splits_are_never_classes_in_silence(
    folders: tuple[str, ...], top_folders: str, store: Storage
) -> None:
    error = refused(put(store, images(*folders)), top_folders=top_folders)
    assert error.reason == "UnclearSplits"
    assert "splits again" in error.message


def test_a_class_of_splits_may_be_called_like_a_split(store: Storage) -> None:
    put(store, images("train/train", "train/bus", "test/train", "test/bus"))
    assert listed(store).classes() == ("bus", "train")


def test_top_folders_do_not_go_with_a_csv(store: Storage) -> None:
    put(store, {"l.csv": b"image,label\ncat/0.png,a\n"})
    with pytest.raises(UserError, match="--top-folders") as caught:
        list_source(store, csv="l.csv", group_by=None, top_folders="splits")
    assert caught.value.reason == "InvalidOption"


LINKED = {
    "a class that is a link": (("pool/emu",), {"source/emu": "pool/emu"}),
    "a class that holds a link to a folder": (("pool/emu",), {"source/emu/batch": "pool/emu"}),
    "a class that holds a link to the top": (("source/emu",), {"source/emu/top": "source"}),
    "classes that link to each other": (("source/emu",), {"source/emu/cat": "source/cat"}),
    "one class twice": ((), {"source/emu": "source/cat"}),
    "one pool for two splits": (
        ("pool/cat", "pool/dog", "source/train/cat", "source/train/dog"),
        {"source/validation/cat": "pool/cat", "source/validation/dog": "pool/dog", "source/train/cat/pool": "pool/cat"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_one_digest_or_one_refusal_whatever_the_order_on_disk(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, links = LINKED[name]
    base = () if name == "one pool for two splits" else ("source/cat", "source/dog")
    write_files(
        tmp_path,
        {f"{top}/{n}.png": png(100 * at + n) for at, top in enumerate((*base, *folders)) for n in range(3)},
    )
    for link, target in links.items():
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / target)
    scan, outcomes = os.scandir, []
    for backwards in (False, True):

        class Ordered:
            def __init__(self, path: str, backwards: bool = backwards) -> None:
                with scan(path) as entries:
                    self.entries = sorted(entries, key=lambda entry: entry.name, reverse=backwards)

            def __enter__(self) -> Iterator[os.DirEntry[str]]:
                return iter(self.entries)

            def __exit__(self, *_: object) -> None: ...

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", Ordered)
            try:
                outcomes.append(build(tmp_path / "source", tmp_path / f"ds{backwards}").manifest.digest)
            except UserError as error:
                outcomes.append(error.message)
    assert outcomes[0] == outcomes[1]
    conflict = name in {"classes that link to each other", "one class twice"}
    assert ("label-conflict" in outcomes[0]) == conflict


def test_one_digest_whatever_the_unicode_form_of_names(tmp_path: Path) -> None:
    """A tree that went through macOS has decomposed names: classes, groups and copies are told alike."""
    names = [f"{label}/é{n % 4}-{n}.png" for label in ("çat", "dög") for n in range(12)]
    copies = {"çat/zé9.png": 3, "çat/zf8.png": 3}
    digests = []
    for form in ("NFC", "NFD"):
        files = {name: png(at) for at, name in enumerate(names)} | {n: png(s) for n, s in copies.items()}
        written = {unicodedata.normalize(form, name): data for name, data in files.items()}
        source = write_files(tmp_path / form, written)
        result = build(source, tmp_path / f"ds{form}", group_by=r"([éf]\d)")
        digests.append(result.manifest.digest)
    assert digests[0] == digests[1]
    keys = [open_dataset(open_storage(str(tmp_path / f"ds{form}"))).index(0).key for form in ("NFC", "NFD")]
    assert np.array_equal(*keys)
