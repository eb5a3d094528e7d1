"""CSV sources as people write them: read, or refused in one line that names flag or column and the fix."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from seedbed_api.errors import UserError
from support.datasets.image_files import build, png, write_files

NAMES = tuple(f"pic/{n}.png" for n in range(12))
ROWS = "".join(f"{name},{'cat' if n % 2 else 'dog'}\n" for n, name in enumerate(NAMES))
PLAIN = f"image,label\n{ROWS}"


def source(folder: Path, text: str | bytes, *, name: str = "labels.csv") -> Path:
    write_files(folder, {path: png(n) for n, path in enumerate(NAMES)})
    return write_files(folder, {name: text.encode() if isinstance(text, str) else text})


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return build(source(tmp_path / "plain", PLAIN), tmp_path / "plain-ds", csv="labels.csv").manifest.digest


def spaced(text: str) -> str:
    return "\n".join(" , ".join(line.split(",")) for line in text.splitlines())


SAME: dict[str, str | bytes] = {
    "blanks around names and values": spaced(PLAIN),
    "blanks before paths": PLAIN.replace("\npic", "\n  pic"),
    "tabs around names": PLAIN.replace("image,label", "\timage\t,\tlabel"),
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "a byte order mark and quotes": b'\xef\xbb\xbf"image","label"\n' + ROWS.encode(),
    "lines of Windows": PLAIN.replace("\n", "\r\n"),
    "lines of old Macs": PLAIN.replace("\n", "\r"),
    "no end of the last line": PLAIN.rstrip("\n"),
    "quotes": "\n".join('"' + '","'.join(line.split(",")) + '"' for line in PLAIN.splitlines()),
    "empty lines": PLAIN.replace("\n", "\n\n"),
    "lines of separators only": PLAIN + ",\n , \n",
    "columns in another order": "label,image\n" + "".join(f"{b},{a}\n" for a, b in (r.split(",") for r in ROWS.split())),
    "a column of pandas without a name": ",image,label\n" + "".join(f"{n},{r}\n" for n, r in enumerate(ROWS.split())),
    "a column twice that nobody reads": "x,x,image,label\n" + "".join(f"1,2,{r}\n" for r in ROWS.split()),
    "paths that begin with ./": PLAIN.replace("\npic", "\n./pic"),
    "paths with two slashes": PLAIN.replace("pic/", "pic//"),
    "a line twice": PLAIN + "pic/3.png,cat\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_matter_changes_no_digest(name: str, digest: str, tmp_path: Path) -> None:
    built = build(source(tmp_path / "source", SAME[name]), tmp_path / "ds", csv="labels.csv")
    assert built.manifest.digest == digest


@pytest.mark.parametrize(
    "place", ["below the source", "absolute", "absolute and elsewhere", "above the source", "URL"]
)
def test_the_file_may_lie_anywhere(
    place: str, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = source(tmp_path / "source", PLAIN)
    elsewhere = write_files(tmp_path / "elsewhere", {"labels.csv": PLAIN.encode()}) / "labels.csv"
    monkeypatch.chdir(top / "pic")
    csv = {
        "below the source": "labels.csv",
        "absolute": str(top / "labels.csv"),
        "absolute and elsewhere": str(elsewhere),
        "above the source": "../../elsewhere/labels.csv",
        "URL": f"file://{elsewhere}",
    }[place]
    assert build(top, tmp_path / "ds", csv=csv).manifest.digest == digest


REFUSED: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "image twice": ("image,image,label\na,b,c\n", ("--csv", "'image'", "2 times")),
    "label twice": ("image,label,label\na,b,c\n", ("--csv", "'label'", "2 times")),
    "label twice, one with a blank": ("image,label, label\na,b,c\n", ("--csv", "'label'", "2 times")),
    "split twice": ("image,label,split,split\na,b,c,d\n", ("--csv", "'split'", "2 times")),
    "group twice": ("image,label,group,group\na,b,c,d\n", ("--csv", "'group'", "2 times")),
    "no label": ("image,class\na,b\n", ("--csv", "'label' is missing", "['class', 'image']")),
    "no header": ("pic/0.png,cat\n", ("--csv", "'image' is missing")),
    "capitals": ("Image,Label\na,b\n", ("--csv", "'image'", "instead of 'Image'")),
    "semicolons": ("image;label\na;b\n", ("--csv", "commas instead of semicolons")),
    "tabs": ("image\tlabel\na\tb\n", ("--csv", "commas instead of tabs")),
    "a header alone": ("image,label\n", ("--csv", "no rows")),
    "a header and blank lines": ("image,label\n\n,\n , \n", ("--csv", "no rows")),
    "nothing": ("", ("--csv", "Empty CSV file")),
    "blank lines": ("\n\n", ("--csv", "no CSV file")),
    "a short row": ("image,label\na\n", ("--csv", "Expected 2 columns, got 1")),
    "a long row": ("image,label\na,b,c\n", ("--csv", "Expected 2 columns, got 3")),
    "an open quote": ('image,label\n"a,b\nc,d\n', ("--csv", "no CSV file")),
    "UTF-16": (PLAIN.encode("utf-16"), ("--csv", "UTF-16", "UTF-8")),
    "UTF-16, big end first": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), ("--csv", "UTF-16")),
    "Latin-1 in a value": ("image,label\na,\xe9\n".encode("latin-1"), ("--csv", "UTF-8")),
    "Latin-1 in the header": ("imag\xe9,label\na,b\n".encode("latin-1"), ("--csv", "UTF-8")),
    "a spreadsheet": (b"PK\x03\x04" + bytes(30), ("--csv", "spreadsheet", "CSV")),
    "gzip": (b"\x1f\x8b\x08" + bytes(30), ("--csv", "gzip")),
}  # fmt: skip


def refused(folder: Path, dest: Path, **options: object) -> UserError:
    with pytest.raises(UserError) as caught:
        build(folder, dest, on_error="skip", **options)
    assert "\n" not in caught.value.message
    assert not dest.exists()
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_listing_is_refused_by_flag_or_column(name: str, tmp_path: Path) -> None:
    text, says = REFUSED[name]
    error = refused(source(tmp_path / "source", text), tmp_path / "ds", csv="labels.csv")
    assert error.reason == "InvalidSource"
    assert [word for word in says if word not in error.message] == [], error.message


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("nothing.csv", "no such file"),
        ("/nowhere/labels.csv", "no such file"),
        ("../labels.csv", "no such file"),
        ("pic", "no such file"),
        ("pic/", "--csv"),
        ("", "--csv"),
        ("a\0b", "--csv"),
        ("gopher://host/x.csv", "--csv"),
        ("x" * 300, "too long"),
        ("loop.csv", "symbolic links"),
        ("/dev/zero", "device"),
    ],
)
def test_a_flag_that_names_no_file_is_refused_by_name(csv: str, says: str, tmp_path: Path) -> None:
    top = source(tmp_path / "source", PLAIN)
    (top / "loop.csv").symlink_to("loop.csv")
    error = refused(top, tmp_path / "ds", csv=csv)
    assert error.message.startswith("--csv")
    assert says in error.message


def test_a_column_to_group_by_that_is_not_there_is_refused_by_its_flag(tmp_path: Path) -> None:
    top = source(tmp_path / "source", PLAIN)
    error = refused(top, tmp_path / "ds", csv="labels.csv", group_by="plant")
    assert error.message.startswith("--group-by")
    assert "'plant'" in error.message


NEAR = {
    "backslashes": ("pic\\0.png", "'pic/0.png' does"),
    "another case of the suffix": ("pic/0.PNG", "'pic/0.png' does"),
    "no suffix": ("pic/0", "'pic/0.png' does"),
    "another suffix": ("pic/0.jpeg", "'pic/0.png' does"),
    "the name of the source before it": ("source/pic/0.png", "'pic/0.png' does"),
    "nothing like it": ("pic/99.png", "does not exist"),
    "a folder": ("pic", "does not exist"),
    "a name that ends in a slash": ("pic/", "does not exist"),
}


@pytest.mark.parametrize("name", NEAR)
def test_a_name_that_is_not_there_is_told_with_what_was_perhaps_meant(name: str, tmp_path: Path) -> None:
    path, says = NEAR[name]
    top = source(tmp_path / "source", f"{PLAIN}{path},cat\n")
    report = build(top, tmp_path / "ds", csv="labels.csv", on_error="skip").report
    (found,) = report.refused.document()["files"]
    assert found["kind"] == "missing-file"
    assert says in found["detail"]


LINES = {
    "a name that is too long": ("x" * 300, "unreadable"),
    "a NUL": ("pic/\0.png", "outside-source"),
    "a way out behind blanks": ("  /etc/passwd", "outside-source"),
    "a way out by dots behind blanks": ("  ../x.png", "outside-source"),
    "a way out by backslashes": ("..\\..\\etc\\passwd", "missing-file"),
    "a path of Windows": ("C:\\pic\\0.png", "missing-file"),
    "a folder that is a file": ("pic/0.png/1.png", "missing-file"),
    "a loop": ("loop.png", "unreadable"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_that_names_no_file_is_left_out_and_named(name: str, tmp_path: Path) -> None:
    path, kind = LINES[name]
    top = source(tmp_path / "source", f"{PLAIN}{path},cat\n")
    (top / "loop.png").symlink_to("loop.png")
    with pytest.raises(UserError, match=rf"1 of its files are refused.*\({kind}\)"):
        build(top, tmp_path / "ds", csv="labels.csv")
    report = build(top, tmp_path / "ds", csv="labels.csv", on_error="skip").report
    assert dict(report.refused.counts) == {kind: 1}


def test_a_line_without_a_path_is_named_by_its_number(tmp_path: Path) -> None:
    top = source(tmp_path / "source", PLAIN.replace("pic/4.png,", " ,"))
    with pytest.raises(UserError, match=r"row 5 \(outside-source\)"):
        build(top, tmp_path / "ds", csv="labels.csv")


@pytest.mark.parametrize("disk", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_names_are_the_same_in_any_unicode_form(disk: str, listed: str, tmp_path: Path) -> None:
    names = [f"plânt/é{n}.png" for n in range(8)]
    files = {unicodedata.normalize(disk, name): png(n) for n, name in enumerate(names)}
    lines = [f"{name},{'çat' if n % 2 else 'dog'},grüp{n // 2}" for n, name in enumerate(names)]
    text = unicodedata.normalize(listed, "\n".join(("image,label,gröup", *lines)))
    top = write_files(tmp_path / "source", files | {"l.csv": text.encode()})
    one = build(top, tmp_path / "ds", csv="l.csv", group_by=unicodedata.normalize(disk, "gröup"))
    plain = [line.replace("é", "e").replace("â", "a") for line in ("image,label,gröup", *lines)]
    same = {name.replace("é", "e").replace("â", "a"): png(n) for n, name in enumerate(names)}
    other = write_files(tmp_path / "other", same | {"l.csv": "\n".join(plain).encode()})
    assert (
        one.manifest.digest == build(other, tmp_path / "ds2", csv="l.csv", group_by="gröup").manifest.digest
    )


def test_urls_that_no_server_could_answer_are_rows_of_the_user(digest: str, tmp_path: Path) -> None:
    """The build goes on without them, and asks nobody."""
    bad = {
        "http://": "it names no host",
        "http:///a.png": "it names no host",
        "http://host:99999/a.png": "Port out of range",
        "http://host:0/a.png": "its host or port cannot be one",
        "http://user:secret@host:x/a.png?key=1": "Port could not be cast",
        "https://[::1/a.png": "Invalid IPv6 URL",
        "http://a..b/c.png": "label empty or too long",
        "http://a b/c.png": "its host or port cannot be one",
        "s3://": "it names no bucket",
        "s3://bucket/": "it names no object",
    }
    lines = "".join(f"{url},cat\n" for url in bad)
    built = build(
        source(tmp_path / "source", PLAIN + lines), tmp_path / "ds", csv="labels.csv", on_error="skip"
    )
    assert built.manifest.digest == digest
    refused = built.report.document()["refused"]["files"]
    assert [file["kind"] for file in refused] == ["bad-url"] * len(bad)
    assert all(any(detail in file["detail"] for detail in bad.values()) for file in refused)
    assert not any("secret" in file["path"] or "key" in file["path"] for file in refused)
    with pytest.raises(UserError, match=r"1 of its files are refused: http:// \(bad-url\)"):
        build(source(tmp_path / "one", PLAIN + "http://,cat\n"), tmp_path / "other", csv="labels.csv")


@pytest.mark.parametrize(
    ("options", "line"),
    {
        "another format": ({"source_format": "parquet"}, "--source-format: does not go with the CSV file labels.csv (got 'parquet')"),
        "no file of the format": ({"csv": None, "source_format": "csv"}, "--source-format: needs the name of the CSV file"),
        "more files than one": ({"source_files": ("labels.csv", "more.csv")}, "it is named, and nothing would read it (got 'more.csv')"),
        "an image column twice": ({"image_column": "x"}, "--image-column: labels.csv has 2 columns of this name (got 'x')"),
    }.values(),
)  # fmt: skip
def test_nothing_that_the_user_names_is_left_out_in_silence(
    options: dict[str, object], line: str, tmp_path: Path
) -> None:
    text = "x,x,image,label\n" + "".join(f"1,2,{row}\n" for row in ROWS.split())
    with pytest.raises(UserError) as caught:
        build(source(tmp_path / "source", text), tmp_path / "ds", **{"csv": "labels.csv"} | options)
    assert line in caught.value.message


def test_columns_are_named_beside_a_name_that_occurs_twice(digest: str, tmp_path: Path) -> None:
    text = "x,x,picture,label\n" + "".join(f"1,2,{row}\n" for row in ROWS.split())
    built = build(
        source(tmp_path / "source", text), tmp_path / "ds", csv="labels.csv", image_column="picture"
    )
    assert built.manifest.digest == digest
