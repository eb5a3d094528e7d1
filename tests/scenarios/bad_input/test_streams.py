"""Standard streams that are shared, full, closed or odd: stdout holds answers alone, and trouble is one line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.storage import open_storage
from support.datasets.image_files import png
from support.runs.command_line import Scene

CHATTY = """
import atexit, ctypes, os, subprocess, sys, threading, time
from torch import nn

def say(who):
    print(who, "prints")
    sys.__stdout__.write(who + " writes\\n")
    sys.__stdout__.flush()
    os.write(1, (who + " writes at once\\n").encode())
    subprocess.run(["echo", who, "has a child"])
    ctypes.CDLL(None).puts((who + " in C").encode())

def late():
    threading.main_thread().join()
    say("a thread")

say("import")
atexit.register(say, "exit")
threading.Thread(target=late).start()

class Net:
    def build(self, args):
        say("build")
        sys.stdout = sys.stderr = None
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, int(args["classes"])))
    def metrics(self, confusion):
        say("metrics")
        return {}
"""
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb", "COLUMNS": "1"}
SAYS_IT = "error: OutputUnwritable: stdout: "


def shell(
    command: str, *, folder: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Type a line into bash, where `seedbed` is this one's."""
    program = (
        f'seedbed() {{ {shlex.quote(sys.executable)} -m seedbed.cli "$@"; }}; set -o pipefail; {command}'
    )
    done = subprocess.run(
        ["bash", "-c", program],
        cwd=folder,
        env=os.environ | (environ or {}),
        capture_output=True,
        check=False,
    )
    text = [each.decode("utf-8", "surrogateescape") for each in (done.stdout, done.stderr)]
    assert "Traceback" not in text[1], text[1]
    return subprocess.CompletedProcess(command, done.returncode, *text)


def test_stdout_holds_the_status_whatever_user_code_prints(scene: Scene) -> None:
    scene.code(CHATTY)
    scene.job(model={"entrypoint": "mine:Net", "code": {"uri": str(scene.folder / "code")}})
    done = shell("seedbed run -f job.yaml -o json", folder=scene.folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["conditions"][0]["type"] == "Complete"
    said = [
        f"{who} {how}" for who in ("import", "exit", "a thread") for how in ("prints", "in C", "has a child")
    ]
    assert [line for line in said if line not in done.stderr] == []
    verified = shell("seedbed verify runs/runs/* --code code -o json", folder=scene.folder)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["result"] == "reproduced"


def test_a_run_whose_reader_leaves_or_whose_streams_are_closed_goes_on(scene: Scene) -> None:
    scene.job()
    closed = shell("seedbed run -f job.yaml <&- >&- 2>&-", folder=scene.folder)
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "", "")
    assert (scene.run_folder() / "receipt.json").is_file()
    full = shell("seedbed run -f job.yaml -o json >/dev/full", folder=scene.folder)
    assert (full.returncode, full.stderr.splitlines()[-1].startswith(SAYS_IT)) == (75, True)
    unheard = shell(
        "seedbed run -f job.yaml --output other 2>&1 | true; exit ${PIPESTATUS[0]}", folder=scene.folder
    )
    assert unheard.returncode == 0


COMMANDS = {
    "help": "seedbed --help",
    "help of a command": "seedbed run --help",
    "version": "seedbed --version",
    "dataset show": "seedbed dataset show {data}",
    "dataset show as JSON": "seedbed dataset show {data} -o json",
    "dataset check": "seedbed dataset check {data}",
    "validate": "seedbed validate -f {job}",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stdout_that_takes_nothing_is_told_of_in_one_line(scene: Scene, command: str) -> None:
    line = COMMANDS[command].format(data=scene.shared, job=scene.job())
    full = shell(f"{line} >/dev/full", folder=scene.folder)
    assert (full.returncode, full.stderr) == (
        75,
        f"{SAYS_IT}no space left on device; free space, or send it elsewhere\n",
    )
    closed = shell(f"{line} >&-", folder=scene.folder)
    assert (closed.returncode, closed.stderr) == (2, f"{SAYS_IT}is closed; open it\n")
    left = shell(f"{line} | true; exit ${{PIPESTATUS[0]}}", folder=scene.folder)
    assert left.returncode in (0, 141)
    assert left.stderr == ""
    assert shell(f"{line} 2>/dev/full", folder=scene.folder).returncode == 0


NAMES = [
    "[bold]fat",
    "[",
    "\x1b[31mred",
    "line\nbreak",
    "\u202eright to left",
    "tab\there",
    ":smile:",
    "ünï",
    "-o",
]


@pytest.fixture(scope="session")
def oddly_named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a dataset of classes whose names a terminal, a table or an encoding could take amiss."""
    folder = tmp_path_factory.mktemp("oddly-named")
    for number, name in enumerate(NAMES):
        for each in range(4):
            place = folder / "images" / name / f"{each}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png(number * 10 + each, height=12, width=12))
    options = BuildOptions(parallelism=1, engine="local")
    build_dataset(open_storage(str(folder / "images")), open_storage(str(folder / "data")), options=options)
    return folder / "data"


@pytest.mark.parametrize("environ", [{}, PLAIN], ids=["UTF-8", "ASCII in one column without a terminal"])
def test_names_of_classes_are_shown_as_they_are_and_obeyed_by_nobody(
    oddly_named: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    shown = shell(f"seedbed dataset show {oddly_named}", folder=tmp_path, environ=environ)
    assert shown.returncode == 0, shown.stderr
    for name in (
        "[bold]fat",
        r"\x1b[31mred",
        r"line\nbreak",
        r"\u202eright to left",
        r"tab\there",
        ":smile:",
    ):
        assert name in shown.stdout
    assert ("ünï" if not environ else r"\xfcn\xef") in shown.stdout
    assert not {"\x1b", "\u202e"} & {*shown.stdout}
    as_json = shell(f"seedbed dataset show {oddly_named} -o json", folder=tmp_path, environ=environ)
    assert sorted(json.loads(as_json.stdout)["classes"]) == sorted(NAMES)


def test_a_run_on_such_classes_is_told_in_any_encoding(oddly_named: Path, scene: Scene) -> None:
    scene.job(dataset__uri=str(oddly_named), training__batch={"globalSize": 4, "microSize": 4})
    done = shell("seedbed run -f job.yaml -o json", folder=scene.folder, environ=PLAIN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]
    listed = shell(
        "seedbed runs list runs; seedbed logs runs; seedbed top runs", folder=scene.folder, environ=PLAIN
    )
    assert listed.returncode == 0, listed.stderr


@pytest.mark.parametrize(
    ("where", "output", "environ"),
    [(".", "\u00fc", PLAIN), ("$'\\xff'", "runs", {})],
    ids=["a name that this encoding lacks", "a working folder in no encoding"],
)
def test_a_folder_whose_name_cannot_be_written_is_one_line(
    scene: Scene, where: str, output: str, environ: dict[str, str]
) -> None:
    scene.job(output__uri=output)
    command = f"mkdir -p {where}; cd {where}; seedbed run -f {scene.manifest}"
    refused = shell(command, folder=scene.folder, environ=environ)
    assert refused.returncode == 2
    assert "spec.output.uri: cannot be written in " in refused.stderr
    assert "set LC_ALL=C.UTF-8, or rename the folder" in refused.stderr


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://[bold]/x", "does not appear to be an IPv4 or IPv6 address"),
        ("s3://[/red]", "Invalid IPv6 URL"),
        ("http://[::1]:99999/x", "Port out of range"),
        ("http://host:port/x", "Port could not be cast"),
        ("http://user:hidden@[x", "(got 'http://[x')"),
    ],
)
@pytest.mark.parametrize("command", ["dataset show", "dataset check", "runs list", "logs", "top", "verify"])
def test_a_host_that_is_none_is_one_line(scene: Scene, command: str, url: str, says: str) -> None:
    refused = scene.type(*command.split(), url)
    (line,) = refused.errors
    assert refused.exit_code == 2
    assert line.startswith("error: InvalidStorageURL: ")
    assert says in line
    assert "hidden" not in line


def test_a_host_in_brackets_is_shown_whole(scene: Scene) -> None:
    refused = scene.type("dataset", "show", "http://[::1]:9/[bold]/data")
    (line,) = refused.errors
    assert "http://[::1]:9/[bold]/data/" in line
    assert refused.exit_code == 75


@pytest.mark.parametrize(
    "command",
    ["dataset show data", "runs list .", "logs .", "top .", "verify runs", "diff a b", "run -f job.yaml"],
)
def test_a_removed_working_folder_is_one_line(scene: Scene, command: str) -> None:
    line = f"mkdir gone; cd gone; rmdir ../gone; seedbed {command}"
    refused = shell(line, folder=scene.folder)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1


def test_a_run_in_a_removed_folder_needs_absolute_places_alone(scene: Scene) -> None:
    scene.job()
    line = f"mkdir gone; cd gone; rmdir ../gone; env -u HOME seedbed run -f {scene.manifest} -o json"
    line = line.replace("env -u HOME seedbed", "unset HOME; seedbed")
    done = shell(line, folder=scene.folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for command, says in (
        ("runs list .", "no runs here"),
        ("logs .", "no logs here"),
        ("top .", "nothing here yet"),
    ):
        told = shell(f"seedbed {command}", folder=tmp_path)
        assert (told.returncode, told.stdout) == (0, "")
        assert says in told.stderr


def test_a_document_that_names_itself_oddly_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(
        '{"apiVersion": "v1", "kind": "A\\u001b[2J", "metadata": {"name": "[b]\\u202e"}}'
    )
    told = shell("seedbed validate -f odd.yaml", folder=tmp_path)
    assert told.stdout == "skipped: A\\x1b[2J/[b]\\u202e (not of seedbed.dev)\n"
