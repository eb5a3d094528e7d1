"""The first process of a container: it reaps, passes signals on once, keeps the log, and leaves nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedbed.logs.log_truncation import MOST_LOG_BYTES

PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from seedbed.logs.json_log import JsonLineEncoder
from seedbed.pods.init_process import exit_now, supervise
def ended(number, spool):
    data = spool.read_bytes()
    print(f"ended by {{number}} after {{len(data)}} bytes", flush=True)
    (Path(os.environ["TMPDIR"]) / "kept").write_bytes(data)
spool = supervise(ended, JsonLineEncoder(context={{"job": "digits"}}, clock=lambda: "noon"))
{body}
"""


def started(body: str, tmp_path: Path, *, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{PROGRAM.format(body=body)}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )


def messages(log: str) -> list[str]:
    return [json.loads(line)["message"] for line in log.splitlines()]


def test_exit_code_and_output_pass_through(tmp_path: Path) -> None:
    process = started(
        "print('hello'); print('oops', file=sys.stderr); sys.stdout.flush(); exit_now(143)", tmp_path
    )
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, sorted(messages(out))) == (143, ["hello", "oops"])
    assert list(tmp_path.iterdir()) == [], "the spool is gone, and nobody was asked to keep it"


@pytest.mark.parametrize(
    ("end", "number"),
    [
        pytest.param("raise RuntimeError('odd')", 0, id="by an error that nobody expected"),
        pytest.param("os.write(1, b'RuntimeError: odd\\n'); os.kill(os.getpid(), 9)", 9, id="by a signal"),
        pytest.param("os.write(1, b'RuntimeError: odd\\n'); exit_now(0)", 0, id="well"),
    ],
)
def test_a_program_that_says_too_much_leaves_its_beginning_and_its_end(
    tmp_path: Path, end: str, number: int
) -> None:
    """Its end is known when it has ended, so it is the first process that must see to it."""
    body = "for n in range(700):\n    print(f'line {n} ' + 30_000 * 'x', flush=True)\n"
    process = started(body + end, tmp_path)
    out, _ = process.communicate(timeout=120)
    kept = (tmp_path / "kept").read_text()
    *said, last = out.splitlines()
    assert last == f"ended by {number} after {len(kept)} bytes"
    assert len(kept) <= MOST_LOG_BYTES
    assert len("\n".join(said)) > 700 * 30_000, "stdout keeps everything"
    first, *_, last = messages(kept)
    assert (first[:7], last) == ("line 0 ", "RuntimeError: odd")


FLOODS = {
    "a line without an end": "os.write(1, b'x' * 65536)",
    "zeros": "os.write(1, bytes(65536))",
    "bytes that are no text": "os.write(1, b'\\xff\\xed\\xa0\\x80' * 16384)",
    "carriage returns": "os.write(1, b'\\r' * 65536)",
    "empty lines": "os.write(1, b'\\n' * 8192)",
    "nested JSON": "os.write(1, b'{\"message\":' * 6000 + b'\\n')",
    "a number of many digits": "os.write(1, b'{\"message\": \"m\", \"step\": ' + b'9' * 30000 + b'}\\n')",
    "lone surrogates": 'os.write(1, b\'{"message": "\\\\ud800"}\\n\' * 400)',
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_whatever_a_program_writes_its_pipe_is_emptied_with_bounded_memory(
    tmp_path: Path, flood: str
) -> None:
    body = f"for _ in range(100):\n    {flood}\nos.write(1, b'\\nlast words\\n'); exit_now(3)"
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))"
    process = started(body, tmp_path, before=limited)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 3, out[-2000:]
    *_, last, ended = out.splitlines()
    assert json.loads(last)["message"] == "last words"
    assert ended.startswith("ended by 0 after ")
    assert (tmp_path / "kept").stat().st_size <= MOST_LOG_BYTES


def test_a_log_that_cannot_be_encoded_stops_no_program(tmp_path: Path) -> None:
    broken = "from unittest import mock\nmock.patch('seedbed.logs.json_log.log_record', side_effect=ValueError).start()\n"
    body = "for _ in range(100):\n    os.write(1, b'x' * 65535 + b'\\n')\nexit_now(4)"
    process = started(body, tmp_path, before=broken)
    process.communicate(timeout=120)
    assert process.returncode == 4


def test_a_program_that_fails_has_the_last_of_its_log_kept_by_the_first_process(tmp_path: Path) -> None:
    process = started("raise RuntimeError('odd')", tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert messages((tmp_path / "kept").read_text())[-1] == "RuntimeError: odd"


def test_a_program_that_is_killed_is_told_of_with_its_last_words(tmp_path: Path) -> None:
    process = started("os.write(1, b'last words\\n'); os.kill(os.getpid(), 9)", tmp_path)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + 9
    assert (
        out
        == '{"time": "noon", "job": "digits", "level": "info", "message": "last words"}\n'
        + "ended by 9 after 76 bytes\n"
    )


def test_a_signal_arrives_once_although_the_whole_group_got_it(tmp_path: Path) -> None:
    body = """
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
print("ready", flush=True)
deadline = time.monotonic() + 90
while not heard and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.3)
exit_now(100 + len(heard))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().count("ready") == 1
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(120) == 101


ORPHANS = """
# a grandchild that ignores SIGTERM, and one that dies at once and leaves a zombie
script = "import os, signal, sys, time; signal.signal(15, signal.SIG_IGN)\\n" \\
    "if os.fork(): os._exit(0)\\n" \\
    "os.setsid(); open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(float(sys.argv[2]))"
marks = Path(os.environ["TMPDIR"])
for name, seconds in (("stays", "600"), ("zombie", "0")):
    subprocess.run([sys.executable, "-c", script, str(marks / name), seconds], check=True)
    while not (marks / name).exists() or not (marks / name).read_text():
        time.sleep(0.01)
print("ready", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_orphans_are_reaped_while_it_runs_and_ended_with_it(tmp_path: Path) -> None:
    process = started(ORPHANS + "time.sleep(600)", tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().count("ready") == 1
    stays, zombie = (int((tmp_path / name).read_text()) for name in ("stays", "zombie"))
    wait_until_gone(zombie)
    assert Path(f"/proc/{stays}").exists()
    process.terminate()
    assert process.wait(120) == 128 + signal.SIGTERM
    wait_until_gone(stays)


@pytest.mark.skipif(sys.platform != "linux", reason="a child dies with its parent on Linux only")
def test_a_supervisor_that_is_killed_takes_the_program_along(tmp_path: Path) -> None:
    process = started("print(os.getpid(), flush=True); time.sleep(600)", tmp_path)
    assert process.stdout is not None
    child = int(json.loads(process.stdout.readline())["message"])
    process.kill()
    process.wait()
    wait_until_gone(child)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 120
    while state := state_of(pid):
        assert time.monotonic() < deadline, f"process {pid} is there still, in state {state}"
        time.sleep(0.02)


def state_of(pid: int) -> str:
    """Return the letter of a process' state, nothing where there is none; it may end while it is read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
