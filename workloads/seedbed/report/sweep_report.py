"""Build `report.html` of a sweep: one self-contained page of bounded size, no scripts, all texts escaped."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from markupsafe import Markup

from seedbed.report.line_chart import Line, line_chart, nice_range, thin_out
from seedbed.report.page_templates import page_template
from seedbed.report.parallel_coordinates import TrialPath, parallel_coordinates
from seedbed.report.search_space_axes import Scale, axis_of, shortened
from seedbed.search.objective_values import SCALE, format_objective, objective_goal
from seedbed.search.prune_reasons import PruneReasons, rung_summaries
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialRuns, TrialState
from seedbed.search.trial_ranking import count_trials, rank_trials
from seedbed_api.sweepjob import SweepJobSpec

Curve = Sequence[tuple[int, int]]
"""(epoch, objective in steps of 10^-12)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepInputs:
    """Everything in the report of a sweep that has ended."""

    job: str
    spec: SweepJobSpec
    ended: SweepEnd
    trials: Sequence[DecidedTrial]
    """By index."""
    trial_runs: Mapping[int, TrialRuns] = field(default_factory=dict)
    curves: Mapping[int, Curve] = field(default_factory=dict)
    """By trial, the mean over its folds; a missing one is replaced by the rungs of the trial."""
    importance: Mapping[str, float] = field(default_factory=dict)
    """Share of each parameter, largest first."""
    created: str = ""
    """Time of creation as text; the report does not read the clock."""
    sweep: str = ""
    """Identity of the sweep."""
    environment_class: str = ""
    dataset_digest: str = ""
    record_uri: str = ""
    record_digest: str = ""
    reused: int = 0
    """Trials whose stored results were reused."""


MOST_PATHS, MOST_CURVES, MOST_ROWS = 200, 60, 50
_LONGEST_VALUE = 60
_ENDS = {
    EndReason.ALL_TRIED: "every trial was tried",
    EndReason.TARGET_REACHED: "trial {index} reached the target",
    EndReason.FAILURE_LIMIT: "more trials failed than spec.maxFailedTrialCount allows, with trial {index}",
    EndReason.UNDECIDED: "trial {index} could not be decided: {detail}",
}


def build_sweep_report(inputs: SweepInputs) -> str:
    """Return the page as text. Sections without data are left out."""
    best = rank_trials(inputs.trials, objective_goal(inputs.spec.objective))
    failed = [trial for trial in inputs.trials if trial.state is TrialState.FAILED]
    pruned = [trial for trial in inputs.trials if trial.state is TrialState.PRUNED]
    return page_template("sweep.html.j2").render(
        inputs=inputs,
        state=str(inputs.ended.reason),
        succeeded=inputs.ended.complete and bool(best),
        sentence=_sentence(inputs, best),
        metrics=_metrics(inputs, best),
        names=[parameter.name for parameter in inputs.spec.parameters],
        folds=inputs.spec.cross_validation is not None,
        coordinates=_coordinates(inputs, best),
        curves=_curves(inputs, best),
        importance=[(name, f"{100 * share:.1f}") for name, share in inputs.importance.items()],
        rungs=rung_summaries(inputs.spec, inputs.trials),
        ranking=[_row(inputs, trial) for trial in best[:MOST_ROWS]],
        ranked=len(best),
        pruned=_ended_early(inputs, pruned),
        pruned_count=len(pruned),
        failed=[_row(inputs, trial) for trial in failed[:MOST_ROWS]],
        failed_count=len(failed),
        spec_yaml=yaml.safe_dump(inputs.spec.plain(), sort_keys=False, allow_unicode=True),
    )


def _sentence(inputs: SweepInputs, best: Sequence[DecidedTrial]) -> str:
    end = _ENDS[inputs.ended.reason].format(index=inputs.ended.index, detail=inputs.ended.detail)
    if not best:
        return f"{end[0].upper()}{end[1:]}; none succeeded."
    figure = format_objective(best[0].objective or 0)
    return f"Trial {best[0].index} is the best, with {inputs.spec.objective.metric} {figure}; {end}."


def _metrics(inputs: SweepInputs, best: Sequence[DecidedTrial]) -> dict[str, str]:
    counts = count_trials(inputs.trials)
    figures = {f"best {inputs.spec.objective.metric}": _short(best[0].objective)} if best else {}
    return figures | {
        "trials": f"{counts.total:,}",
        "succeeded": f"{counts.succeeded:,}",
        "ended early": f"{counts.pruned:,}",
        "failed": f"{counts.failed:,}",
        "computed before": f"{inputs.reused:,}",
    }


def _coordinates(inputs: SweepInputs, best: Sequence[DecidedTrial]) -> dict[str, Any] | None:
    """Return the parallel coordinates; None without parameters or trials."""
    axes = [axis_of(parameter) for parameter in inputs.spec.parameters]
    drawn = sample(inputs.trials, best, most=MOST_PATHS)
    if not axes or not drawn:
        return None
    ranks = {trial.index: rank for rank, trial in enumerate(best)}
    # the best are drawn last, over all others
    drawn.sort(key=lambda trial: -ranks.get(trial.index, len(inputs.trials)))
    paths = [
        TrialPath(
            title=f"trial {trial.index}: {_outcome(trial)}",
            style=_style(trial, ranks.get(trial.index), len(best)),
            values=dict(trial.assignments),
            objective=None if trial.objective is None else trial.objective / SCALE,
        )
        for trial in drawn
    ]
    objective, title = inputs.spec.objective, f"Parameters and objective of {len(drawn)} trials"
    scale, beyond = _objective_scale(inputs, [path.objective for path in paths])
    svg = parallel_coordinates(axes, scale, paths, label=objective.metric, title=title)
    drawn_styles = {path.style for path in paths}
    return {
        "svg": svg,
        "note": " ".join(_notes(len(drawn), len(inputs.trials), beyond)),
        "styles": [(style, label) for style, label in _LEGEND if style in drawn_styles],
    }


_LEGEND = (
    ("best", "the best trial"),
    ("upper", "better half"),
    ("lower", "other half"),
    ("pruned", "ended early"),
    ("failed", "failed"),
)


_OTHER_CURVES = (("others", "faint"), ("ended early", "pruned"))


def _style(trial: DecidedTrial, rank: int | None, count: int) -> str:
    if rank is None:
        return str(trial.state).lower()
    return "best" if rank == 0 else "upper" if 2 * rank < count else "lower"


def _objective_scale(inputs: SweepInputs, values: Sequence[float | None]) -> tuple[Scale, int]:
    """Return the axis of the objective, better values on top, and the number of values beyond its bad end."""
    known = [value for value in values if value is not None] or [0.0]
    maximize = inputs.spec.objective.direction == "Maximize"
    low, high = shown_bounds(known, maximize=maximize)
    beyond = sum(not low <= value <= high for value in known)
    return Scale(low=low, high=high, downwards=not maximize), beyond


def shown_bounds(values: Sequence[float], *, maximize: bool) -> tuple[float, float]:
    """Return the bounds of an axis; a few values that are far worse than the others are left beyond them."""
    low, high = min(values), max(values)
    if len(values) < 4:
        return low, high
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    room = 4 * (high - lower if maximize else upper - low)
    if not room:
        return low, high
    return (max(low, high - room), high) if maximize else (low, min(high, low + room))


def _notes(drawn: int, count: int, beyond: int) -> Iterator[str]:
    if drawn < count:
        yield (
            f"{drawn} of {count:,} trials are drawn: the best, and others evenly by index; "
            "the sweep record has all of them."
        )
    if beyond:
        yield f"{beyond} far worse than the others {'is' if beyond == 1 else 'are'} drawn at the edge."


def sample(trials: Sequence[DecidedTrial], best: Sequence[DecidedTrial], *, most: int) -> list[DecidedTrial]:
    """Return at most `most` trials by index: a third are the best ones, the others are spread by index."""
    if len(trials) <= most:
        return list(trials)
    chosen = {trial.index for trial in best[: most // 3]}
    others = [trial for trial in trials if trial.index not in chosen]
    room = most - len(chosen)
    chosen |= {others[step * len(others) // room].index for step in range(room)}
    return [trial for trial in trials if trial.index in chosen]


def _curves(inputs: SweepInputs, best: Sequence[DecidedTrial]) -> dict[str, Any] | None:
    """Return the learning curves; None if no trial was evaluated during training."""
    drawn = sample(inputs.trials, best, most=MOST_CURVES)
    ranks = {trial.index: rank for rank, trial in enumerate(best)}
    drawn.sort(key=lambda trial: -ranks.get(trial.index, len(inputs.trials)))
    lines = [_line(trial, _curve(inputs, trial), ranks.get(trial.index)) for trial in drawn]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    metric, maximize = inputs.spec.objective.metric, inputs.spec.objective.direction == "Maximize"
    low, high = shown_bounds([y for line in lines for _, y in line.points], maximize=maximize)
    svg = line_chart(
        f"{metric} by epoch of {len(lines)} trials",
        lines,
        x_label="epoch",
        y_range=nice_range(low, high),
        size=(1000, 340),
    )
    legend = [(f"trial {trial.index}", f"line-{rank + 1}") for rank, trial in enumerate(best[:3])]
    drawn_styles = {line.style for line in lines}
    legend += [(label, style) for label, style in _OTHER_CURVES if style in drawn_styles]
    return {"svg": svg, "legend": legend, "note": " ".join(_notes(len(drawn), len(inputs.trials), 0))}


def _curve(inputs: SweepInputs, trial: DecidedTrial) -> Curve:
    """Return the learning curve of a trial, up to the epoch at which it was pruned."""
    curve = inputs.curves.get(trial.index) or trial.rungs
    if trial.state is TrialState.PRUNED:
        return [point for point in curve if point[0] <= trial.rungs[-1][0]]
    return curve


def _line(trial: DecidedTrial, curve: Curve, rank: int | None) -> Line:
    style = "pruned" if trial.state is TrialState.PRUNED else "faint"
    return Line(
        label=f"trial {trial.index}",
        points=thin_out([(float(epoch), value / SCALE) for epoch, value in curve], most=100),
        style=f"line-{rank + 1}" if rank is not None and rank < 3 else style,
        marked=len(curve) == 1,
    )


def _ended_early(inputs: SweepInputs, pruned: Sequence[DecidedTrial]) -> list[dict[str, Any]]:
    prune_reasons = PruneReasons(inputs.spec, inputs.trials)
    return [
        _row(inputs, trial) | {"epoch": trial.rungs[-1][0], "why": prune_reasons.reason(trial)}
        for trial in pruned[:MOST_ROWS]
    ]


def _row(inputs: SweepInputs, trial: DecidedTrial) -> dict[str, Any]:
    """Return the table row of a trial."""
    values, trial_runs = dict(trial.assignments), inputs.trial_runs.get(trial.index)
    return {
        "index": trial.index,
        "objective": _short(trial.objective),
        "deviation": _short(trial.deviation),
        "folds": [_short(value) for value in trial.folds],
        "reason": trial.reason or "",
        "values": [_value(values.get(parameter.name)) for parameter in inputs.spec.parameters],
        "runs": [run.removeprefix("sha256:") for run in trial_runs.run_ids] if trial_runs else [],
    }


def _value(value: str | None) -> str | Markup:
    return Markup('<span class="quiet">–</span>') if value is None else shortened(value, _LONGEST_VALUE)


def _outcome(trial: DecidedTrial) -> str:
    if trial.objective is None:
        return f"failed, {trial.reason}"
    ended = f" after epoch {trial.rungs[-1][0]}" if trial.state is TrialState.PRUNED else ""
    return f"{str(trial.state).lower()}{ended}, {_short(trial.objective)}"


def _short(steps: int | None) -> str:
    return "" if steps is None else f"{steps / SCALE:.6g}"
