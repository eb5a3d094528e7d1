"""Conversions that lose something happen where they are asked for, to the pixel, and are counted."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.dataset.builder import BuildOptions
from seedbed.dataset.extension import extend_dataset
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, encoded, opened, png_16_bit_rgb, two_classes, write_files

RNG = np.random.default_rng(5)
RGBA = RNG.integers(0, 256, (6, 8, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 8), dtype=np.uint16)
INKS = RNG.integers(0, 256, (16, 16, 4), dtype=np.uint8)
PRINT = Image.frombytes("CMYK", (16, 16), INKS.tobytes())
FRAMES = [Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)) for _ in range(3)]


def mixed(background: tuple[int, int, int]) -> np.ndarray:
    colour, alpha = RGBA[:, :, :3].astype(float), RGBA[:, :, 3:].astype(float) / 255
    return colour * alpha + np.array(background) * (1 - alpha)


def frames(kind: str) -> bytes:
    return encoded(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:])


def first_of_gif() -> np.ndarray:
    with Image.open(io.BytesIO(frames("GIF"))) as picture:
        return np.asarray(picture.convert("RGB"))


CASES = {
    "alpha on white": ("a.png", encoded(Image.fromarray(RGBA)), {"alpha": "white"}, mixed((255, 255, 255)), "alpha-on-white", "alpha"),
    "alpha on black": ("a.png", encoded(Image.fromarray(RGBA)), {"alpha": "black"}, mixed((0, 0, 0)), "alpha-on-black", "alpha"),
    "alpha on a colour": ("a.png", encoded(Image.fromarray(RGBA)), {"alpha": "#10f080"}, mixed((16, 240, 128)), "alpha-on-#10f080", "alpha"),
    "gray of 16 bits": ("a.png", encoded(Image.fromarray(DEEP)), {"depth": "8"}, DEEP >> 8, "depth-reduced", "more-than-8-bit"),
    "TIFF of 16 bits": ("a.tif", encoded(Image.fromarray(DEEP), "TIFF"), {"depth": "8"}, DEEP >> 8, "depth-reduced", "more-than-8-bit"),
    "RGB of 16 bits": ("a.png", png_16_bit_rgb(), {"depth": "8"}, np.arange(0, 12, 2, np.uint8).reshape(1, 2, 3).repeat(2, 0), "depth-reduced", "more-than-8-bit"),
    "CMYK": ("a.tif", encoded(PRINT, "TIFF"), {"cmyk": "convert"}, np.asarray(PRINT.convert("RGB")), "cmyk-converted", "cmyk"),
    "frames of WebP": ("a.webp", encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True), {"frames": "first"}, np.asarray(FRAMES[0]), "first-frame", "animated"),
    "pages of TIFF": ("a.tif", frames("TIFF"), {"frames": "first"}, np.asarray(FRAMES[0]), "first-frame", "animated"),
    "frames of PNG": ("a.png", frames("PNG"), {"frames": "first"}, np.asarray(FRAMES[0]), "first-frame", "animated"),
    "frames of GIF": ("a.gif", frames("GIF"), {"frames": "first"}, first_of_gif(), "first-frame", "unsupported-format"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_asked_for_is_done_to_the_pixel_and_counted(name: str, tmp_path: Path) -> None:
    path, data, asked, wanted, note, reason = CASES[name]
    source = write_files(two_classes(tmp_path / "source", per_class=2), {f"cat/{path}": data})
    with pytest.raises(UserError, match=rf"{path} \({reason}\)"):
        build(source, tmp_path / "strict", split="train=1")
    built = build(source, tmp_path / "ds", split="train=1", **asked)
    assert built.report.notes.counts[note] == 1
    assert built.manifest.recipe.conversions == asked
    pixels = stored(tmp_path / "ds", np.shape(wanted)[:2])
    assert np.abs(pixels.astype(float) - wanted).max() <= (1 if "alpha" in asked else 0)


def stored(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of the image that no other test image is: by its digest among the rows."""
    plain = two_classes(folder.parent / "plain", per_class=2)
    known = {path.read_bytes() for path in plain.rglob("*.png")}
    dataset = opened(folder)
    found = [
        image
        for n in range(len(dataset.manifest.shards))
        for _, image in dataset.images(n)
        if image not in known
    ]
    (image,) = found
    pixels = np.asarray(Image.open(io.BytesIO(image)))
    assert pixels.shape[:2] == shape
    return pixels


def test_a_photo_of_four_inks_and_a_damaged_one(tmp_path: Path) -> None:
    whole = encoded(PRINT, "JPEG", quality=95)
    source = write_files(two_classes(tmp_path / "source", per_class=2), {"cat/a.jpg": whole})
    assert build(source, tmp_path / "ds", cmyk="convert").report.notes.counts["cmyk-converted"] == 1
    write_files(source, {"cat/a.jpg": whole[: len(whole) // 2]})
    with pytest.raises(UserError, match=r"a\.jpg \(truncated\)"):
        build(source, tmp_path / "cut", cmyk="convert")


def test_options_that_change_nothing_change_no_digest_and_old_manifests_have_no_field(tmp_path: Path) -> None:
    source = two_classes(tmp_path / "source")
    plain = build(source, tmp_path / "plain").manifest
    asked = build(
        source, tmp_path / "asked", alpha="white", depth="8", cmyk="convert", frames="first"
    ).manifest
    assert plain.digest == asked.digest
    assert b"conversions" not in (tmp_path / "plain/manifest.json").read_bytes()


def test_an_extension_converts_as_the_build_did(tmp_path: Path) -> None:
    source = two_classes(tmp_path / "source", per_class=3)
    build(source, tmp_path / "ds", alpha="black")
    write_files(source, {"cat/new.png": encoded(Image.fromarray(RGBA))})
    stores = open_storage(str(source)), open_storage(str(tmp_path / "ds"))
    extension = extend_dataset(*stores, options=BuildOptions(parallelism=1))
    assert extension.result.report.notes.counts["alpha-on-black"] == 1
    with pytest.raises(UserError, match="built with other options"):
        build(source, tmp_path / "ds", alpha="white", append=True)


@pytest.mark.parametrize("colour", ["grey", "#fff", "#12345g", "white ", ""])
def test_a_background_that_is_no_colour(colour: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--alpha: is no colour of a background .*; write white, black or #rrggbb"
    ):
        build(two_classes(tmp_path / "source", per_class=2), tmp_path / "ds", alpha=colour)
