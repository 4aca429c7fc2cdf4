"""Tables for terminals and text files, and the means over seeds that every report shows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from math import isnan, nan
from statistics import fmean, stdev
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table

from tsugiki.i18n import catalogue, language, text

Row = Mapping[str, Any]
"""A row of `results.json`."""

_WIDTH = 140
# Columns of `headings`: all of them side by side are too wide for a terminal.
_LEARNING = (0, 1, 2, 3, 4, 5, 6)
_ANSWERING = (0, 1, 7, 8, 9, 10, 11, 12)
_BY_ITSELF = (0, 1, 13, 14, 15)
_MEANS = (
    *("score", "macro_f1", "validation_score", "num_trainable", "trainable_share", "train_s", "cache_s", "sweep_s"),
    *("latency_ms_p50", "latency_ms_p50_batch32", "infer_flops", "peak_bytes", "serve_peak_bytes", "load_s"),
    "package_bytes",
)
# Where a run knows them.
_MEANS_IF_ANY = ("calibration_error", "automatic_share", "automatic_precision")


@dataclass(frozen=True)
class Summary:
    """A method, or a candidate that lost, over its seeds.

    Args:
        method: its name.
        variants: what it came to, each once.
        num_seeds: runs.
        num_reached: runs that reached the target; None where there is no target.
        time_to_target_s: mean over the runs; None where one never got there.
        score_sd: standard deviation of the score over the runs (0..1); None of a single one.
        means: of every other number, under its name in `results.json`; NaN where no run knows it.
    """

    method: str
    variants: tuple[str, ...]
    num_seeds: int
    num_reached: int | None
    time_to_target_s: float | None
    score_sd: float | None
    means: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.means[name]


def summaries(rows: Iterable[Row]) -> list[Summary]:
    """The methods, in the order of the rows."""
    return _grouped((row for row in rows if row["won"]), lambda row: (row["method"],))


def candidates(rows: Iterable[Row]) -> list[Summary]:
    """The candidates that lost the race of their method, in the order of the rows."""
    return _grouped((row for row in rows if not row["won"]), lambda row: (row["method"], row["variant"]))


def comparison_table(groups: Sequence[Summary], title: str, columns: Sequence[int]) -> Table:
    """One line per method.

    Args:
        groups: a line each.
        title: above the table.
        columns: numbers of the columns of `headings` to show.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    names = headings()
    for column in columns:
        table.add_column(names[column], justify="left" if column < 2 else "right", overflow="fold")
    for group in groups:
        shown = cells(group)
        table.add_row(*(shown[column] for column in columns))
    return table


def headings() -> list[str]:
    """Names of the columns of a comparison, with their units."""
    names = (
        *("method", "variant", "score", "macro_f1", "train", "to_target", "parameters", "latency"),
        *("operations", "peak", "serving", "load", "package"),
        *("calibration", "automatic_share", "automatic_precision"),
    )
    return [text(f"report.{name}") for name in names]


def cells(group: Summary) -> list[str]:
    """A line of a comparison, in the order of `headings`."""
    return [
        group.method,
        ", ".join(group.variants),
        percent(group["score"]) + ("" if group.score_sd is None else f" ± {100 * group.score_sd:.1f}"),
        percent(group["macro_f1"]),
        number(group["train_s"]),
        _to_target(group),
        number(group["num_trainable"]),
        number(group["latency_ms_p50"]),
        number(group["infer_flops"] / 1e6),
        *(number(group[name] / 1e6) for name in ("peak_bytes", "serve_peak_bytes")),
        number(group["load_s"]),
        number(group["package_bytes"] / 1e6),
        *("-" if isnan(group[name]) else percent(group[name]) for name in _MEANS_IF_ANY),
    ]


def differences_table(differences: Sequence[Row]) -> Table:
    """How much each method's score differs from those it is measured against."""
    table = Table(title=text("report.differences"), title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("method", "against", "difference", "interval"):
        table.add_column(text(f"report.{heading}"), justify="left" if heading in ("method", "against") else "right")
    for d in differences:
        table.add_row(d["method"], d["against"], signed(d["difference_points"]), interval(d))
    return table


def comparison_tables(rows: Sequence[Row], differences: Sequence[Row]) -> Group:
    """Methods, candidates that lost and differences, for a terminal or a file."""
    parts = [(summaries(rows), title(rows))]
    if lost := candidates(rows):
        parts.append((lost, text("report.candidates")))
    tables = [comparison_table(groups, title, _LEARNING) for groups, title in parts]
    tables += [comparison_table(groups, text("report.costs"), _ANSWERING) for groups, _ in parts[:1]]
    if any(not isnan(group["calibration_error"]) for group in parts[0][0]):
        tables.append(comparison_table(parts[0][0], by_itself(rows), _BY_ITSELF))
    if differences:
        tables.append(differences_table(differences))
    return Group(*tables)


def title(rows: Sequence[Row]) -> str:
    """What is compared, and by which score."""
    return text("report.title", dataset=rows[0]["dataset"], metric=metric_name(rows[0].get("metric", "accuracy")))


def by_itself(rows: Sequence[Row]) -> str:
    """Heading of what runs without review, with the precision that was wanted."""
    return text("report.by_itself", wanted=percent(rows[0].get("target_precision") or 0.0))


def metric_name(metric: str) -> str:
    """A score as people call it; a task of somebody else's may have one that no catalogue knows."""
    return catalogue(language()).get(f"report.metrics.{metric}", metric)


def plain(shown: RenderableType) -> str:
    """What a terminal would show, as text without colours."""
    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None, legacy_windows=False).print(shown)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def percent(share: float) -> str:
    """A share in per cent: `93.1`."""
    return f"{100 * share:.1f}"


def signed(points: float) -> str:
    """Points with their sign: `+0.4`, and `0.0` where nothing is left of it."""
    return "0.0" if abs(points) < 0.05 else f"{points:+.1f}"


def interval(difference: Row) -> str:
    """Ends of an interval of points: `-0.8 … +1.6`."""
    return f"{signed(difference['low_points'])} … {signed(difference['high_points'])}"


def number(value: float) -> str:
    """A number with three digits that count, in groups of three: `0.0123`, `4.56`, `22,713,216`."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _to_target(group: Summary) -> str:
    if group.num_reached is None:
        return "-"
    if group.time_to_target_s is not None:
        return number(group.time_to_target_s)
    key = "report.partly" if group.num_reached else "report.never"
    return text(key, reached=group.num_reached, seeds=group.num_seeds)


def _grouped(rows: Iterable[Row], key: Callable[[Row], tuple[str, ...]]) -> list[Summary]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [_summary(group) for group in groups.values()]


def _summary(rows: Sequence[Row]) -> Summary:
    times = [row["time_to_target_s"] for row in rows if row["time_to_target_s"] is not None]
    return Summary(
        method=rows[0]["method"],
        variants=tuple(dict.fromkeys(row["variant"] for row in rows)),
        num_seeds=len(rows),
        num_reached=None if rows[0]["target_score"] is None else len(times),
        time_to_target_s=fmean(times) if len(times) == len(rows) else None,
        score_sd=stdev(row["score"] for row in rows) if len(rows) > 1 else None,
        means={name: fmean(row[name] for row in rows) for name in _MEANS}
        | {name: _mean_if_any([row.get(name) for row in rows]) for name in _MEANS_IF_ANY},
    )


def _mean_if_any(found: Sequence[float | None]) -> float:
    known = [value for value in found if value is not None]
    return fmean(known) if known else nan
