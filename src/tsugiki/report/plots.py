"""Pictures, as PNG: told apart by marker and line as well as by colour, every line labelled where it ends."""

from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from tsugiki.i18n import text
from tsugiki.report.fonts import drawable, fonts
from tsugiki.report.tables import Row, Summary, candidates, summaries

if TYPE_CHECKING:
    from tsugiki.evaluate.run import Evaluation

Floats = NDArray[np.float64]
Target = Path | IO[bytes]
T = TypeVar("T")

# Okabe & Ito (2008): told apart by the colour-blind. Light yellow is left out, it is lost on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":")

_DPI = 150
_GREY = "#666666"
_LONGEST_LABEL = 28
# Above this many classes, numbers in cells could not be read.
_MOST_COUNTED = 24


def score_by_time(rows: Sequence[Row], path: Target) -> None:
    """Draw the best validation score so far against seconds of training: a line per run, a point per method."""
    with fonts():
        figure, axes = _axes("report.score_by_time", "report.axis_seconds", "report.axis_validation")
        groups = summaries(rows)
        for i, group in enumerate(groups):
            for row in rows:
                if row["won"] and row["method"] == group.method:
                    _curve(axes, row, i)
        finals = [group["validation_score"] for group in groups]
        target = rows[0]["target_score"]
        low, high = min([*finals, *([] if target is None else [target])]), max(finals)
        # First epochs are far below; shown whole they would press flat what is to be compared.
        axes.set_ylim(100 * (low - max(0.05, high - low)), 100 * (high + max(0.01, 0.15 * (high - low))))
        _points(axes, groups, [(group["train_s"], score) for group, score in zip(groups, finals, strict=True)])
        if target is not None:
            axes.axhline(100 * target, color=_GREY, linewidth=1, linestyle=(0, (1, 2)))
            axes.text(
                0.01,
                100 * target,
                text("report.target", score=f"{100 * target:.1f}"),
                color=_GREY,
                fontsize=8,
                va="bottom",
                transform=axes.get_yaxis_transform(),
            )
        _save(figure, path)


def score_by_parameters(rows: Sequence[Row], path: Target) -> None:
    """Draw the test score against trained parameters, with its range over seeds; losers of races are hollow."""
    with fonts():
        figure, axes = _axes("report.score_by_parameters", "report.axis_parameters", "report.axis_test")
        groups = summaries(rows)
        if len(alone := {row["num_trainable"] for row in rows}) == 1:  # which has no width to fit
            axes.set_xlim(min(alone) / 2, 2 * max(alone))
        for i, group in enumerate(groups):
            scores = [100 * row["score"] for row in rows if row["won"] and row["method"] == group.method]
            axes.vlines(group["num_trainable"], min(scores), max(scores), color=_colour(i), linewidth=2)
        for lost in candidates(rows):
            i = [group.method for group in groups].index(lost.method)
            style: dict[str, Any] = {
                "marker": _MARKERS[i % len(_MARKERS)],
                "facecolors": "none",
                "edgecolors": _colour(i),
            }
            axes.scatter(lost["num_trainable"], 100 * lost["score"], s=24, linewidths=1, **style)
        _points(axes, groups, [(group["num_trainable"], group["score"]) for group in groups])
        _save(figure, path)


def confusion_picture(evaluation: "Evaluation", path: Target) -> None:
    """Draw rows by true class and answer, shaded by the share of the class."""
    matrix = np.asarray(evaluation.confusion, dtype=float)
    shares = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    num = len(matrix)
    with fonts():
        size = 2.6 + (0.42 if num <= _MOST_COUNTED else 0.17) * num
        figure = Figure(figsize=(size + 0.6, size), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(100 * shares, cmap="Blues", norm=Normalize(0, 100))
        names = [_label(label, f"#{i + 1}") for i, label in enumerate(evaluation.labels)]
        fontsize = 8 if num <= _MOST_COUNTED else 6
        axes.set_xticks(range(num), names, rotation=90, fontsize=fontsize)
        axes.set_yticks(range(num), names, fontsize=fontsize)
        axes.set_xlabel(text("report.axis_answer"))
        axes.set_ylabel(text("report.axis_label"))
        if num <= _MOST_COUNTED:
            _count(axes, matrix, shares)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
        bar.set_label(text("report.axis_share"))
        _save(figure, path)


def coverage_picture(evaluation: "Evaluation", path: Target) -> None:
    """Draw the share of right answers against the share of rows that are answered unseen, surest first."""
    with fonts():
        figure, axes = _coverage_axes()
        shares, precision = (np.array(values) * 100 for values in zip(*evaluation.coverage, strict=True))
        axes.plot(shares, precision, color=_COLOURS[0], linewidth=2)
        if evaluation.automatic is not None:
            share = 100 * evaluation.automatic.share
            _wanted(axes, evaluation.automatic.wanted)
            axes.axvline(share, color=_COLOURS[1], linewidth=1.5, linestyle="--")
            axes.annotate(
                text("report.automatic", share=f"{share:.0f}"),
                (share, 0.02),
                xycoords=axes.get_xaxis_transform(),
                xytext=(-4, 0),
                textcoords="offset points",
                fontsize=8,
                color=_COLOURS[1],
                ha="right",
            )
        _save(figure, path)


def coverage_by_method(rows: Sequence[Row], path: Target) -> None:
    """Draw the same for every method of a comparison, the mean over its runs."""
    shares = np.linspace(1, 100, 100)
    with fonts():
        figure, axes = _coverage_axes()
        ends: dict[int, tuple[str, float]] = {}
        for i, group in enumerate(summaries(rows)):
            runs = [np.array(row["coverage"]) for row in rows if row["won"] and row["method"] == group.method]
            if not all(map(len, runs)):  # kept from a time when runs did not know it
                continue
            curve = np.mean([np.interp(shares, 100 * run[:, 0], 100 * run[:, 1]) for run in runs], axis=0)
            axes.plot(shares, curve, color=_colour(i), linestyle=_LINES[i % len(_LINES)], linewidth=1.5)
            ends[i] = group.method, float(curve[-1])
        if rows[0]["target_precision"] is not None:
            _wanted(axes, rows[0]["target_precision"])
        low, high = axes.get_ylim()
        heights = _spread([(last - low) / (high - low) for _, last in ends.values()], 0.055) if ends else []
        for (i, (method, last)), height in zip(ends.items(), heights, strict=True):
            _name(axes, method, i, (100.0, last), height)
        _save(figure, path)


def png(draw: Callable[[T, Target], None], drawn: T) -> bytes:
    """One of these pictures as the content of a file."""
    file = BytesIO()
    draw(drawn, file)
    return file.getvalue()


# --- parts -----------------------------------------------------------------------------------------------------------


def _axes(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.set_title(text(title), loc="left", fontsize=11)
    axes.set_xlabel(text(across))
    axes.set_ylabel(text(up))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _coverage_axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlim(0, 100)
    axes.set_title(text("report.coverage"), loc="left", fontsize=11)
    axes.set_xlabel(text("report.axis_coverage"))
    axes.set_ylabel(text("report.axis_precision"))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _wanted(axes: Axes, share: float) -> None:
    """A line at the precision that was asked for."""
    axes.axhline(100 * share, color=_GREY, linewidth=1, linestyle=(0, (1, 2)))
    label, where = text("report.wanted", share=f"{100 * share:.0f}"), axes.get_yaxis_transform()
    axes.text(0.01, 100 * share, label, color=_GREY, fontsize=8, va="bottom", transform=where)


def _curve(axes: Axes, row: Row, i: int) -> None:
    seconds, scores = zip(*(point for point in row["curve"] if point[0] > 0), strict=True)
    seconds, scores = (*seconds, row["train_s"]), (*scores, row["validation_score"])
    style = _LINES[i % len(_LINES)]
    axes.step(
        seconds, [100 * s for s in scores], where="post", color=_colour(i), linestyle=style, linewidth=1.2, alpha=0.7
    )


def _points(axes: Axes, groups: Sequence[Summary], points: Sequence[tuple[float, float]]) -> None:
    """Mark each method, and name it in the right margin at the height of its point, as far as there is room."""
    for i, (x, score) in enumerate(points):
        axes.scatter(x, 100 * score, marker=_marker(i), color=_colour(i), s=48, zorder=3)
    axes.margins(x=0.05)
    low, high = axes.get_ylim()
    heights = _spread([(100 * score - low) / (high - low) for _, score in points], 0.055)
    for i, ((x, score), height) in enumerate(zip(points, heights, strict=True)):
        _name(axes, groups[i].method, i, (x, 100 * score), height)


def _name(axes: Axes, name: str, i: int, point: tuple[float, float], height: float) -> None:
    """Name the method at number `i` in the right margin, with a line to its point."""
    axes.annotate(
        _label(name, f"#{i + 1}"),
        xy=point,
        xytext=(1.02, height),
        textcoords="axes fraction",
        va="center",
        color=_colour(i),
        fontsize=9,
        arrowprops={"arrowstyle": "-", "color": _colour(i), "linewidth": 0.5, "alpha": 0.5},
        annotation_clip=False,
    )


def _spread(heights: Sequence[float], least: float) -> list[float]:
    """Heights (0..1) moved apart so that neighbours are at least `least` from each other, in the same order."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + least)
    over = max(0.0, max(placed) - 1.0)
    for i in reversed(order):
        placed[i] = min(placed[i], 1.0 - least * (len(order) - 1 - order.index(i))) if over else placed[i]
    return placed


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]


def _marker(i: int) -> str:
    return _MARKERS[i % len(_MARKERS)]


def _short(value: float) -> str:
    """A tick: `0.1`, `30`, `20k`, `3M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _count(axes: Axes, matrix: Floats, shares: Floats) -> None:
    for (y, x), count in np.ndenumerate(matrix):
        if count:
            ink = "white" if shares[y, x] > 0.5 else "black"
            axes.text(x, y, f"{count:.0f}", ha="center", va="center", color=ink, fontsize=7)


def _save(figure: Figure, path: Target) -> None:
    # No clipped label, however long: the picture grows around what is drawn.
    figure.savefig(path, format="png", bbox_inches="tight", pad_inches=0.1)


# --- words -----------------------------------------------------------------------------------------------------------


def _label(label: str, number: str) -> str:
    """A name short enough for an axis, never taken for a formula; its number where no font has its letters."""
    short = drawable(" ".join(label.split()))
    if short is None:
        return number
    return (short if len(short) <= _LONGEST_LABEL else short[: _LONGEST_LABEL - 1] + "…").replace("$", r"\$")
