"""Pictures, as PNG: told apart by marker and line as well as by colour, every line labelled where it ends."""

from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from tsugiki.i18n import FALLBACK, catalogue, text
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
_JAPANESE = (
    *("Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAPGothic", "IPAGothic"),
    *("Hiragino Sans", "Yu Gothic", "Meiryo", "MS Gothic", "TakaoPGothic", "VL PGothic"),
)
_LATIN = "DejaVu Sans"  # comes with matplotlib

_DPI = 150
_GREY = "#666666"
_LONGEST_LABEL = 28
# Above this many classes, numbers in cells could not be read.
_MOST_COUNTED = 24


def score_by_time(rows: Sequence[Row], path: Target) -> None:
    """Draw the best validation score so far against seconds of training: a line per run, a point per method."""
    with _fonts():
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
                _words("report.target", score=f"{100 * target:.1f}"),
                color=_GREY,
                fontsize=8,
                va="bottom",
                transform=axes.get_yaxis_transform(),
            )
        _save(figure, path)


def score_by_parameters(rows: Sequence[Row], path: Target) -> None:
    """Draw the test score against trained parameters, with its range over seeds; losers of races are hollow."""
    with _fonts():
        figure, axes = _axes("report.score_by_parameters", "report.axis_parameters", "report.axis_test")
        groups = summaries(rows)
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
    with _fonts():
        size = 2.6 + (0.42 if num <= _MOST_COUNTED else 0.17) * num
        figure = Figure(figsize=(size + 0.6, size), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(100 * shares, cmap="Blues", norm=Normalize(0, 100))
        names = [_label(label, f"#{i + 1}") for i, label in enumerate(evaluation.labels)]
        fontsize = 8 if num <= _MOST_COUNTED else 6
        axes.set_xticks(range(num), names, rotation=90, fontsize=fontsize)
        axes.set_yticks(range(num), names, fontsize=fontsize)
        axes.set_xlabel(_words("report.axis_answer"))
        axes.set_ylabel(_words("report.axis_label"))
        if num <= _MOST_COUNTED:
            _count(axes, matrix, shares)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
        bar.set_label(_words("report.axis_share"))
        _save(figure, path)


def coverage_picture(evaluation: "Evaluation", path: Target) -> None:
    """Draw the share of right answers against the share of rows that are answered unseen, surest first."""
    with _fonts():
        figure = Figure(figsize=(7, 4.5), dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        shares, precision = (np.array(values) * 100 for values in zip(*evaluation.coverage, strict=True))
        axes.plot(shares, precision, color=_COLOURS[0], linewidth=2)
        if evaluation.automatic is not None:
            wanted, share = 100 * evaluation.automatic.wanted, 100 * evaluation.automatic.share
            axes.axhline(wanted, color=_GREY, linewidth=1, linestyle=(0, (1, 2)))
            axes.axvline(share, color=_COLOURS[1], linewidth=1.5, linestyle="--")
            axes.annotate(
                _words("report.wanted", share=f"{wanted:.0f}"),
                (0.01, wanted),
                xycoords=axes.get_yaxis_transform(),
                fontsize=8,
                color=_GREY,
                va="bottom",
            )
            axes.annotate(
                _words("report.automatic", share=f"{share:.0f}"),
                (share, 0.02),
                xycoords=axes.get_xaxis_transform(),
                xytext=(-4, 0),
                textcoords="offset points",
                fontsize=8,
                color=_COLOURS[1],
                ha="right",
            )
        axes.set_xlim(0, 100)
        axes.set_title(_words("report.coverage"), loc="left", fontsize=11)
        axes.set_xlabel(_words("report.axis_coverage"))
        axes.set_ylabel(_words("report.axis_precision"))
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
    axes.set_title(_words(title), loc="left", fontsize=11)
    axes.set_xlabel(_words(across))
    axes.set_ylabel(_words(up))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


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
        axes.annotate(
            _label(groups[i].method, f"#{i + 1}"),
            xy=(x, 100 * score),
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


# --- words and fonts -------------------------------------------------------------------------------------------------


def _fonts() -> Any:
    return rc_context({"font.family": _families(), "axes.unicode_minus": False})


def _families() -> list[str]:
    there = {font.name for font in font_manager.fontManager.ttflist}
    return [_LATIN, *(name for name in _JAPANESE if name in there)]


def _words(key: str, **facts: object) -> str:
    """A text in the language in force, in English where no font has its characters."""
    words = text(key, **facts)
    return words if _can_draw(words) else catalogue(FALLBACK)[key].format(**facts)


def _label(label: str, number: str) -> str:
    """A name short enough for an axis; its number where no font has its characters."""
    short = " ".join(label.split())
    short = short if len(short) <= _LONGEST_LABEL else short[: _LONGEST_LABEL - 1] + "…"
    return short.replace("$", r"\$") if _can_draw(short) else number


def _can_draw(words: Iterable[str]) -> bool:
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in _families()]
    return all(any(font.get_char_index(ord(c)) for font in fonts) for c in words)
