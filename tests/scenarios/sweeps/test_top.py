"""`seedbed top` on the store of a sweep: what is complete, what goes on, and whose trials they are."""

from __future__ import annotations

from support.runs.sweep_commands import Desk


def test_the_runs_of_a_store_are_shown_with_what_came_of_them(desk: Desk) -> None:
    desk.sweep(maxTrialCount=2)
    shown = desk.type("top", desk.folder / "runs", "--once")
    assert shown.exit_code == 0, shown.stderr
    header, *rows = shown.stdout.splitlines()
    assert header.split() == ["NAME", "STATUS", "PROGRESS", "RESULT", "KIND", "MESSAGE"]
    (sweep,) = (row for row in rows if " 2/2 trials " in row)
    best = min(trial["objective"] for trial in desk.sweep_record()["trials"])
    assert sweep.split()[1:] == ["complete", "2/2", "trials", best, "sweep", "AllTried"]
    runs = [row for row in rows if row != sweep]
    assert len(runs) == 2
    for row in runs:
        assert " complete " in row
        assert " 12/12 " in row
        assert row.endswith(f" sweep {sweep.split()[0]}")


def test_what_cannot_be_shown_is_one_line(desk: Desk) -> None:
    nothing = desk.type("top", desk.folder / "nowhere", "--once")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "nothing here yet" in nothing.stderr
    missing = desk.type("top", "--kubeconfig", desk.manifest())
    assert missing.exit_code == 2
    assert len(missing.errors) == 1
