"""Write the page of results as Markdown: medians, ratios, goals, and what was not run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from process_tree import machine

Row = dict[str, Any]
NAMES = {
    "seedbed": "Seedbed on Ray Tune",
    "tune-reuse": "Ray Tune, a class with `reuse_actors`",
    "tune-default": "Ray Tune, a function, defaults",
    "optuna": "Optuna in joblib's processes, journal",
    "syne-tune": "Syne Tune, local backend",
    "random": "random search, every point trained to the end",
    "tune-asha": "Ray Tune, ASHA, `reuse_actors`",
    "optuna-hyperband": "Optuna, Hyperband, joblib",
    "seedbed, half computed before": "Seedbed, half of the points already trained",
}


def page(rows: Sequence[Row]) -> str:
    """Return the figures as Markdown."""
    parts = {
        part: [row for row in rows if row["part"] == part] for part in ("noop", "memo", "digits", "large")
    }
    lines = [
        "# Sweeps",
        "",
        "This page compares sweeps of Seedbed with Ray Tune and Optuna: the cost of a trial, and the time to",
        "a good model. `make bench-sweep` runs the programs in [benchmarks/sweeps](../../benchmarks/sweeps);",
        "each trains two trials at a time.",
        "",
        f"{machine()} Medians, range in brackets; n is the number of repetitions.",
        "",
        *_loads(rows),
        *_noop(parts["noop"]),
        *_memo(parts["memo"]),
        *_digits(parts["digits"]),
        *_large(parts["large"]),
    ]
    return "\n".join(lines)


def _loads(rows: Sequence[Row]) -> list[str]:
    """Return how busy the machine was with other work."""
    loads = [row["load"] for row in rows if "load" in row]
    if not loads:
        return []
    spread = f"{min(loads):.1f} to {max(loads):.1f}"
    return [f"Load average when a program started: {spread}; above 1, wall-clock times are unreliable.", ""]


def _noop(rows: Sequence[Row]) -> list[str]:
    lines = [
        "## Cost of a trial",
        "",
        "The trials do nothing: searcher, scheduler, actors and sweep record are real, the training returns",
        "at once. Ray runs before the clock starts; the start of the actors is included. Per trial:",
        "",
        "| program | trials | n | wall s | CPU-s | wall / Tune with reuse | CPU / Tune with reuse |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    return [*lines, *_compared(rows, against="tune-reuse", per="trials"), "", *_goals(rows), ""]


def _goals(rows: Sequence[Row]) -> list[str]:
    """Return which goals are met, as far as their rows were run."""
    by_case = _by_case([row for row in rows if "notRun" not in row])
    wall = {case: _median(each, "wall", "trials") for case, each in by_case.items()}
    lines = []
    for peer, factor in (("tune-reuse", 1.0), ("tune-default", 1 / 15)):
        if "seedbed" not in wall or peer not in wall:
            lines.append(f"Goal ≤ {factor:.2g} × {NAMES[peer]}: not run.")
            continue
        ratio = wall["seedbed"] / wall[peer]
        verdict = "met" if ratio <= factor else "missed"
        lines.append(f"Goal ≤ {factor:.2g} × {NAMES[peer]} (wall): {ratio:.2f}, {verdict}.")
    return lines


def _compared(rows: Sequence[Row], *, against: str, per: str | None) -> list[str]:
    by_case = _by_case(rows)
    known = {case: [row for row in each if "notRun" not in row] for case, each in by_case.items()}
    lines = []
    for case, each in known.items():
        if not each:
            lines.append(f"| {NAMES[case]} | not run: {by_case[case][-1]['notRun']} |  |  |  |  |  |")
            continue
        ratios = [
            f"{_median(each, what, per) / _median(known[against], what, per):.2f}"
            if known.get(against)
            else ""
            for what in ("wall", "cpu")
        ]
        count = str(each[-1][per]) if per else f"{sum(row['reached'] for row in each)}"
        cells = [NAMES[case], count, str(len(each)), _spread(each, "wall", per), _spread(each, "cpu", per)]
        lines.append(f"| {' | '.join([*cells, *ratios])} |")
    return lines


def _memo(rows: Sequence[Row]) -> list[str]:
    known = [row for row in rows if "notRun" not in row]
    if not known:
        return []
    figure = _median(known, "wall", "trials")
    return [
        "## Reused runs",
        "",
        "A sweep of 40 finished runs is run again without its sweep record: every run is looked up in the "
        f"output store, one after the other. Per run {_spread(known, 'wall', 'trials')} s of wall clock and "
        f"{_spread(known, 'cpu', 'trials')} CPU-s (n = {len(known)}). "
        f"Goal ≤ 0.025 s: {'met' if figure <= 0.025 else 'missed'}.",
        "",
    ]


def _digits(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Time to the best loss of a random search",
        "",
        "Points of learning rate and weight decay, drawn by Seedbed's random search, at most 9 epochs each,",
        "on scikit-learn's digits (`simple-cnn`, width 8, batches of 64). All programs get the same points",
        "in the same order, at most 54. The target is reached by the first evaluation, of any trial after",
        "any epoch, whose loss is at most the best that the same program finds when it trains the first 18",
        "points to the end. There the peers stop. In Seedbed a trial that was trained to the end must reach",
        "the target, so it continues, and CPU-s are those until it ended. *Half already trained*: the first",
        "9 points are in the store. Each repetition has another seed. Wall clock runs from the start of the",
        "process; the peers' images are decoded before.",
        "",
        "| program | target reached | n | wall s | CPU-s | wall / Tune | CPU / Tune |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *_compared(rows, against="tune-asha", per=None),
        "",
        "Trial-epochs by seed until the target; in brackets until the end of the program, if it continued.",
        "A store that already holds such a model counts as 0.",
        "",
    ]
    by_case = _by_case([row for row in rows if "notRun" not in row])
    seeds = sorted({row["seed"] for row in rows})
    lines += [f"| program | {' | '.join(map(str, seeds))} |", f"| --- |{' ---: |' * len(seeds)}"]
    for case, each in by_case.items():
        epochs = {row["seed"]: _epochs(row) for row in each}
        lines.append(f"| {NAMES[case]} | {' | '.join(epochs.get(seed, '') for seed in seeds)} |")
    return [*lines, "", *_ways(by_case), ""]


def _verdict(rows: Sequence[Row], *, within: bool) -> str:
    """Return what a ratio means: what did not come to its target says only that more is needed."""
    short = sum(not row["reached"] for row in rows)
    if within and short:
        return f"not met: {short} of {len(rows)} seeds did not reach the target"
    return "met" if within else "missed"


def _epochs(row: Row) -> str:
    """Return the trial-epochs of a program as a cell."""
    until = str(row["epochs"]) if row["reached"] else f"not reached in {row['epochs']}"
    whole = row.get("allEpochs", row["epochs"])
    return until if whole == row["epochs"] else f"{until} ({whole})"


def _ways(by_case: dict[str, list[Row]]) -> list[str]:
    """Return which goals are met against each peer, over all seeds together."""
    goals = (
        ("seedbed", "wall", 1.0, "wall clock"),
        ("seedbed", "epochs", 1.25, "trial-epochs"),
        ("seedbed, half computed before", "epochs", 0.5, "trial-epochs"),
    )
    lines = []
    for case, what, factor, words in goals:
        for peer in ("tune-asha", "optuna-hyperband"):
            if case in by_case and peer in by_case:
                ratio = sum(_values(by_case[case], what, None)) / sum(_values(by_case[peer], what, None))
                verdict = _verdict(by_case[case], within=ratio <= factor)
                lines.append(
                    f"- {NAMES[case]}: {words} ≤ {factor:g} × {NAMES[peer]}: {ratio:.2f}, {verdict}."
                )
    return ["Goals, over all seeds:", "", *lines] if lines else []


def _large(rows: Sequence[Row]) -> list[str]:
    by_case = {case: [row for row in each if "notRun" not in row] for case, each in _by_case(rows).items()}
    if not all(by_case.get(case) for case in ("200", "5000")):
        return []
    lines = [
        "## Many trials",
        "",
        "The driver of a sweep without Ray; trials return at once, sweep record and status are written at",
        "the end. The status is at most 64 KiB",
        "(asserted; `tests/unit/sweeps/test_sweepjob_status_builder.py` has the worst case).",
        "",
        "| trials | resident MB | not mapped from files, MB | CPU-s |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for case in ("200", "5000"):
        resident, private = (_median(by_case[case], what, None) / 1e6 for what in ("resident", "private"))
        lines.append(f"| {case} | {resident:.0f} | {private:.0f} | {_spread(by_case[case], 'cpu', None)} |")
    return [*lines, ""]


def _by_case(rows: Sequence[Row]) -> dict[str, list[Row]]:
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    return cases


def _values(rows: Sequence[Row], what: str, per: str | None) -> list[float]:
    return [row[what] / (row[per] if per else 1) for row in rows]


def _median(rows: Sequence[Row], what: str, per: str | None) -> float:
    return statistics.median(_values(rows, what, per))


def _spread(rows: Sequence[Row], what: str, per: str | None) -> str:
    values = _values(rows, what, per)
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"
